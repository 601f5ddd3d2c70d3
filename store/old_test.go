package store

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// oldEngine opens a copy of a store that was written by an older micro.
func oldEngine(t *testing.T, name string) Config {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	dir := memoryDir(t)
	if err := os.WriteFile(filepath.Join(dir, "store.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{Engine: newEngine(t, dir)}
}

// TestVersion1 opens a store with schema version 1: nothing must be lost, and it must accept writes.
func TestVersion1(t *testing.T) {
	s := newStore(t, oldEngine(t, "version1.db.gz"))
	var got []string
	state := s.State()
	for app := range state.Apps("") {
		got = append(got, fmt.Sprintf("%s is at r%d", app.AppRef, app.Current))
		for rel := range state.Releases(app.AppRef) {
			got = append(got, fmt.Sprintf("%s is %s with A=%s", rel.ReleaseRef, state.PhaseOf(rel), rel.Spec.Env["A"]))
		}
		for vhost := range state.HostsOf(app.AppRef) {
			got = append(got, fmt.Sprintf("%s%s routes to %s", vhost.Host, vhost.Routes[0].Path, vhost.Routes[0].Targets[0].ReleaseRef))
		}
	}
	want := []string{
		"shop is at r1", "shop@r1 is current with A=1", "shop@r2 is routed with A=1",
		"qa.example.com/api routes to shop@r2", "www.example.com/ routes to shop",
	}
	if !slices.Equal(got, want) || state.Rev() != 7 {
		t.Errorf("revision %d: %q, want %q", state.Rev(), got, want)
	}
	lines := 0
	for line, err := range s.Audit(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		if lines++; line.Name != "ann" || line.Role != cloud.RoleAdmin {
			t.Errorf("line %d is by %+v", line.N, line.Actor)
		}
	}
	if lines != 7 {
		t.Errorf("%d audit lines", lines)
	}
	update(t, s, count("new"))
}
