package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// screen draws lines over those that it drew before. What else is written to its terminal comes after end.
type screen struct {
	to    io.Writer
	drawn []int // how many columns each line takes
}

// size is what fits, also where nobody knows.
func (s *screen) size() (width, height int) {
	if f, ok := s.to.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 20 && h > 5 {
			return w, h
		}
	}
	return 80, 24
}

// draw shows lines. One that is longer than the screen is wide takes several rows.
func (s *screen) draw(lines []string) {
	width, _ := s.size() // what was drawn takes more rows where the window has become narrower
	var b strings.Builder
	rows := 0
	for _, n := range s.drawn {
		rows += rowsOf(n, width)
	}
	if rows > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", rows) // from the line's start: the terminal has shown ^C, say
	}
	s.drawn = s.drawn[:0]
	for _, l := range lines {
		b.WriteString(l + "\n")
		s.drawn = append(s.drawn, columns(l))
	}
	fmt.Fprint(s.to, b.String())
}

func rowsOf(length, width int) int { return max(1, (length+width-1)/width) }

// end leaves what was drawn where it is.
func (s *screen) end() { s.drawn = nil }

func followFlag() *urfave.BoolFlag {
	return &urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "refresh every second, on a terminal in place"}
}

// followEvery is the pause between two looks.
const followEvery = time.Second

// follow has show print once, or with --follow again and again until ctx ends. On a terminal it is drawn
// over what was shown before, as much of it as fits; elsewhere one follows the other. A node that is being
// restarted is waited for.
func (c *command) follow(ctx context.Context, u *urfave.Context, show func(*command) error) error {
	if !u.Bool("follow") {
		return show(c)
	}
	place := screen{to: c.Stdout}
	inPlace := !u.Bool("json") && c.draws(c.Stdout)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for round := 0; ; round++ {
		var text strings.Builder
		frame := *c
		frame.Stdout = &text
		if inPlace {
			frame.width, _ = place.size()
		}
		err := show(&frame)
		switch {
		case ctx.Err() != nil:
			return nil
		case round > 0 && cloud.CodeOf(err) == cloud.Unavailable && inPlace:
			place.draw([]string{api.Printable(err.Error())})
		case round > 0 && cloud.CodeOf(err) == cloud.Unavailable:
			c.say("%v", err)
		case err != nil:
			return err
		case inPlace:
			width, height := place.size()
			place.draw(fit(strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n"), width, height-1))
		default:
			if _, err := io.WriteString(c.Stdout, text.String()); err != nil {
				return err // nobody reads it any more
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// fit leaves out the lines that do not fit, and says how many.
func fit(lines []string, width, height int) []string {
	rows, shown := 0, 0
	for i, l := range lines {
		rows += rowsOf(columns(l), width)
		if rows > height {
			return append(slices.Clone(lines[:shown]), fmt.Sprintf("… and %d more lines", len(lines)-shown))
		}
		if rows < height {
			shown = i + 1 // the last row is kept for how many are left out
		}
	}
	return lines
}
