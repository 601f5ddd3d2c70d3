package succession

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/boltkv"
)

// TestTurns has two nodes of which one goes at a time, one that takes its turn twice, and one that is removed meanwhile.
func TestTurns(t *testing.T) {
	e, err := boltkv.Open(boltkv.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	removed := cloud.NodeName("")
	turns := Turns{Engine: e, Exists: func(n cloud.NodeName) bool { return n != removed }}
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	take := func(node cloud.NodeName) error {
		ctx, cancel := context.WithTimeout(t.Context(), askAgain/3)
		defer cancel()
		return turns.Take(ctx, Turn{Node: node, Version: "1.1", Since: at})
	}
	for range 2 {
		if err := take("n1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("n2"); cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), "node n1 is being upgraded to micro 1.1 since 12:00:00 UTC") {
		t.Errorf("the second node: %v", err)
	}
	if err := turns.Release(t.Context(), "n2"); err != nil {
		t.Error(err)
	}
	if held, err := turns.Holder(t.Context()); err != nil || held.Node != "n1" {
		t.Errorf("the turn has %v, %v", held, err)
	}
	removed = "n1"
	if held, err := turns.Holder(t.Context()); err != nil || held.Node != "" {
		t.Errorf("the turn of a removed node is with %v, %v", held, err)
	}
	if err := take("n2"); err != nil {
		t.Error(err)
	}
	waited := make(chan error, 1)
	removed = ""
	go func() { waited <- turns.Take(t.Context(), Turn{Node: "n3", Version: "1.1", Since: at}) }()
	if err := turns.Release(t.Context(), "n2"); err != nil {
		t.Error(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		reads, store int
		code         cloud.Code
	}{{3, 3, ""}, {4, 3, ""}, {3, 4, cloud.Conflict}, {0, 3, cloud.Invalid}} {
		err := Check(api.Version{Version: "1.0", Store: c.reads}, c.store)
		if err == nil != (c.code == "") || err != nil && cloud.CodeOf(err) != c.code {
			t.Errorf("one that reads %d on a store of %d: %v", c.reads, c.store, err)
		}
	}
}

func TestWithoutSettings(t *testing.T) {
	args := strings.Fields("up --join TOKEN --name n1 --recover=lost-all-others -recover lost-all-others --data /d")
	if got := withoutSettings(args, notAgain); !slices.Equal(got, strings.Fields("up --name n1 --data /d")) {
		t.Errorf("got %q", got)
	}
}
