package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
)

// table prints rows under headings. Cells come from anywhere and are made fit for a terminal. On one that
// is too narrow the columns of spare go, the first of them first, until the rest has room.
func (c *command) table(headings []string, rows [][]string, spare ...string) error {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(api.Printable(cell))
			if row[i] == "" {
				row[i] = "-"
			}
		}
	}
	all := append([][]string{headings}, rows...)
	for _, name := range spare {
		if room := c.room(); room == 0 || tableColumns(all) <= room {
			break
		}
		at := slices.Index(all[0], name)
		for i, row := range all {
			all[i] = slices.Concat(row[:at], row[at+1:])
		}
	}
	w := tabwriter.NewWriter(c.Stdout, 0, 8, tableGap, ' ', 0)
	for _, row := range all {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

const tableGap = 2 // between two columns of a table

// tableColumns is how many columns of a terminal the longest row of a table takes.
func tableColumns(rows [][]string) (n int) {
	for i := range rows[0] {
		widest := 0
		for _, row := range rows {
			widest = max(widest, columns(row[i]))
		}
		n += widest + tableGap
	}
	return n - tableGap
}

// room is how many columns the terminal has that is printed to, 0 where none is drawn on.
func (c *command) room() int {
	if c.width == 0 && c.draws(c.Stdout) {
		width, _ := (&screen{to: c.Stdout}).size()
		return width
	}
	return c.width
}

// printJSON prints a value as JSON, indented for people.
func (c *command) printJSON(v any) error {
	enc := json.NewEncoder(c.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine prints a value as JSON on one line: an element of a stream.
func (c *command) printLine(v any) error { return json.NewEncoder(c.Stdout).Encode(v) }

// printRound prints a value as JSON: on one line where another one follows.
func (c *command) printRound(u *urfave.Context, v any) error {
	if u.Bool("follow") {
		return c.printLine(v)
	}
	return c.printJSON(v)
}

// say prints a line about what is being done.
func (c *command) say(format string, args ...any) {
	fmt.Fprintln(c.Stderr, api.Printable(fmt.Sprintf(format, args...)))
}

// print prints a line of data.
func (c *command) print(format string, args ...any) {
	fmt.Fprintln(c.Stdout, api.Printable(fmt.Sprintf(format, args...)))
}

// ago is how long ago a time was, in the largest unit that says something.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// sizeOf is a size for people.
func sizeOf(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%dB", n)
	case n < 10<<20:
		return fmt.Sprintf("%dK", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%dM", n>>20)
	}
	return fmt.Sprintf("%dG", n>>30)
}
