package cloud

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestWithCommand(t *testing.T) {
	for _, c := range []struct {
		err     *Error
		hint    string
		command []string
	}{
		{Errorf(Invalid, "x").WithCommand("micro apps"), "micro apps", []string{"micro", "apps"}},
		{Errorf(Invalid, "x").WithCommand("micro unmap %s %s%s --yes", shop.Release(2), Host("www.example.com"), "/a"), "micro unmap shop@r2 www.example.com/a --yes", []string{"micro", "unmap", "shop@r2", "www.example.com/a", "--yes"}},
		{Errorf(Invalid, "x").WithCommand("micro traffic %s --mirror %s=10%%", "h", shop), "micro traffic h --mirror shop=10%", []string{"micro", "traffic", "h", "--mirror", "shop=10%"}},
		{Errorf(Invalid, "x").WithCommand("micro traffic %s %s=WEIGHT …", "h", shop), "micro traffic h shop=WEIGHT …", []string{"micro", "traffic", "h", "shop=WEIGHT", "…"}},
		{Errorf(Invalid, "x").WithCommand("chmod 600 %s", "/a b/it's"), `chmod 600 '/a b/it'\''s'`, []string{"chmod", "600", "/a b/it's"}},
		{Errorf(Invalid, "x").WithCommand("micro exec %s -- %s", shop, "$(reboot)"), "micro exec shop -- '$(reboot)'", []string{"micro", "exec", "shop", "--", "$(reboot)"}},
		{Errorf(Invalid, "x").WithCommand("micro map %s", ""), "micro map ''", []string{"micro", "map", ""}},
		{Errorf(Invalid, "x").WithCommand("micro apps").WithHint("write %d", 1), "write 1", nil},
	} {
		err := fmt.Errorf("in passing: %w", c.err)
		if HintOf(err) != c.hint || !slices.Equal(CommandOf(err), c.command) {
			t.Errorf("%q and %q; want %q and %q", HintOf(err), CommandOf(err), c.hint, c.command)
		}
		again := Errorf(Conflict, "y").WithHintOf(err)
		if again.Hint != c.hint || !slices.Equal(again.Command, c.command) || again.Code != Conflict {
			t.Errorf("taken over as %+v", again)
		}
	}
	if e := Errorf(Invalid, "x").WithCommand("micro apps").WithHintOf(errors.New("plain")); e.Hint != "micro apps" {
		t.Errorf("an error without a hint took it away: %+v", e)
	}
}

func TestJoin(t *testing.T) {
	first := Errorf(NotFound, "one").WithCommand("micro apps")
	both := Join(nil, first, Errorf(Invalid, "two").WithHint("never"))
	if both.Error() != "one\ntwo" || CodeOf(both) != NotFound || HintOf(both) != "micro apps" || !errors.Is(both, first) {
		t.Errorf("%v, %s, %s", both, CodeOf(both), HintOf(both))
	}
	if Join() != nil || Join(nil, nil) != nil || Join(nil, first) != error(first) {
		t.Error("of nothing, or of one")
	}
	// The hint is the first one's even where that has none: another's would mend something else.
	if both := Join(Errorf(Invalid, "one"), first); HintOf(both) != "" {
		t.Errorf("hint %q", HintOf(both))
	}
}
