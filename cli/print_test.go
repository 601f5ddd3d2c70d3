package cli

import (
	"bytes"
	"strings"
	"testing"
)

// A table has all of its columns where there is room, and where it is not drawn.
func TestTableThatIsTooWide(t *testing.T) {
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, "NAME READY CPU MEMORY"},
		{25, "NAME READY CPU MEMORY"},
		{24, "NAME READY CPU"},
		{17, "NAME READY CPU"},
		{16, "NAME READY"},
		{3, "NAME READY"},
	} {
		var out bytes.Buffer
		cmd := &command{System: System{Stdout: &out, Env: func(string) (string, bool) { return "", false }}, width: c.width}
		rows := [][]string{{"s\x1b", "2", "12%", "日本"}, {"b", "10", "", "7"}}
		if err := cmd.table([]string{"NAME", "READY", "CPU", "MEMORY"}, rows, "MEMORY", "CPU"); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out.String(), "\n")
		if got := strings.Join(strings.Fields(lines[0]), " "); got != c.want || len(lines) != 4 || !strings.HasPrefix(lines[1], `s\x1b  2`) {
			t.Errorf("in %d columns:\n%s", c.width, out.String())
		}
		for _, l := range lines {
			if c.width > 16 && columns(l) > c.width {
				t.Errorf("%q takes %d of %d columns", l, columns(l), c.width)
			}
		}
	}
}
