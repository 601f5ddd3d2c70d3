package cli

import (
	"strings"
	"testing"
)

// What is drawn stands where it was drawn before, however many rows that took.
func TestScreen(t *testing.T) {
	var to strings.Builder
	s := screen{to: &to}
	drawn := func(want string, lines ...string) {
		t.Helper()
		to.Reset()
		s.draw(lines)
		if to.String() != want {
			t.Errorf("%q is drawn as %q, want %q", lines, to.String(), want)
		}
	}
	drawn("a\nb\n", "a", "b")
	drawn("\r\x1b[2A\x1b[Jc\n", "c")
	drawn("\r\x1b[1A\x1b[J"+strings.Repeat("x", 161)+"\n\n", strings.Repeat("x", 161), "")
	drawn("\r\x1b[4A\x1b[Jd\n", "d")
	s.end()
	drawn("e\n", "e")
}

func TestFit(t *testing.T) {
	long := strings.Repeat("x", 21)
	for _, c := range []struct {
		height int
		lines  []string
		want   string
	}{
		{4, []string{"1", "2", "3"}, "1 2 3"},
		{3, []string{"1", "2", "3"}, "1 2 3"},
		{2, []string{"1", "2", "3"}, "1 … and 2 more lines"},
		{3, []string{"1", long}, "1 " + long},
		{3, []string{long, "2"}, long + " 2"},
		{3, []string{long, "2", "3"}, long + " … and 2 more lines"},
		{3, []string{"1", "2", long}, "1 2 … and 1 more lines"},
	} {
		if got := strings.Join(fit(c.lines, 20, c.height), " "); got != c.want {
			t.Errorf("%q in %d rows: %q, want %q", c.lines, c.height, got, c.want)
		}
	}
}
