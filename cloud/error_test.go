package cloud

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestCodesAreATable(t *testing.T) {
	want := map[Code]struct{ status, exit int }{
		Internal: {500, 1}, Invalid: {422, 2}, NotFound: {404, 3}, Denied: {403, 4}, Unauthenticated: {401, 4}, Conflict: {409, 5},
		Unavailable: {503, 6}, DeployFailed: {424, 7}, Interrupted: {499, 130},
	}
	statuses, exits := map[int]bool{}, map[int]bool{}
	for _, c := range Codes() {
		if c.Status() != want[c].status || c.Exit() != want[c].exit {
			t.Errorf("%s is %d and %d", c, c.Status(), c.Exit())
		}
		// Both are "not allowed" for a script.
		if statuses[c.Status()] || exits[c.Exit()] && c != Denied {
			t.Errorf("%s shares its status or exit code", c)
		}
		statuses[c.Status()], exits[c.Exit()] = true, true
	}
	if len(Codes()) != len(want) || len(codeTable) != len(want) {
		t.Errorf("%d codes, %d in the table", len(Codes()), len(codeTable))
	}
	if unknown := Code("later"); unknown.Status() != 500 || unknown.Exit() != 1 {
		t.Error("a code of a later version")
	}
}

func TestErrorChain(t *testing.T) {
	inner := Errorf(NotFound, "no app: %w", io.EOF).WithCommand("micro apps")
	outer := fmt.Errorf("push: %w", Errorf(Conflict, "cannot: %w", inner))
	if CodeOf(outer) != Conflict || HintOf(outer) != "micro apps" || !errors.Is(outer, io.EOF) {
		t.Errorf("code %s, hint %q", CodeOf(outer), HintOf(outer))
	}
	if CodeOf(nil) != "" || CodeOf(io.EOF) != Internal || HintOf(nil) != "" || HintOf(io.EOF) != "" {
		t.Error("plain errors")
	}
}
