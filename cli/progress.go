package cli

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
)

// progress shows what happens to a push: as BuildKit does on a terminal, in plain lines elsewhere.
type progress struct {
	c     *command
	quiet bool          // JSON is asked for
	done  chan struct{} // closed by stop

	mu    sync.Mutex // guards the fields below: time passes without events, too
	steps map[string]*step
	order []*step
	live  bool // steps are drawn over what was drawn before
	screen
	said string
	at   time.Time // of the last drawing
}

// step is a step of a build or pull.
type step struct {
	api.Progress
	number   int
	headed   bool // its name has been printed, in plain lines
	ended    bool // that it has ended, too
	tail     []string
	unfinish string    // output without an end of line
	since    time.Time // when this process saw the step begin
	spoke    time.Time // when a line of it was printed last, in plain lines
}

func (c *command) progress(u *urfave.Context) *progress {
	p := &progress{c: c, quiet: u.Bool("json"), done: make(chan struct{}), steps: map[string]*step{}, live: c.interactive(), screen: screen{to: c.Stderr}}
	go p.tick()
	return p
}

// stop leaves what was drawn where it is, and shows no more.
func (p *progress) stop() {
	close(p.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// sayEvery is how often a step that prints nothing is said to run still, in plain lines.
const sayEvery = 30 * time.Second

// tick shows how the time of a step passes that prints nothing.
func (p *progress) tick() {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-second.C:
			p.mu.Lock()
			p.showTime(time.Now())
			p.mu.Unlock()
		}
	}
}

func (p *progress) showTime(now time.Time) {
	switch {
	case p.quiet:
	case p.live && len(p.order) > 0:
		p.draw(false)
	case !p.live:
		for _, s := range p.order {
			if s.headed && s.Progress.Ended == nil && now.Sub(s.spoke) >= sayEvery {
				s.spoke = now
				p.c.say("#%d … runs for %s", s.number, now.Sub(s.since).Round(time.Second))
			}
		}
	}
}

func (p *progress) event(e api.PushEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return
	}
	switch {
	case e.Progress != nil:
		p.step(*e.Progress)
	case e.Note != "":
		p.end()
		p.c.say("%s", e.Note)
	case e.Release != 0:
		p.end()
		p.c.say("release r%d", e.Release)
	case e.Rollout != nil:
		if now := rollout(*e.Rollout); now != p.said {
			p.said = now
			p.end()
			p.c.say("%s", now)
		}
	}
}

func (p *progress) step(now api.Progress) {
	s := p.steps[now.ID]
	if s == nil {
		s = &step{number: len(p.steps) + 1}
		p.steps[now.ID], p.order = s, append(p.order, s)
	}
	name := s.Name
	s.Progress = now
	if s.Name == "" {
		s.Name = name
	}
	if s.Started != nil && s.since.IsZero() {
		s.since = time.Now()
	}
	lines := s.output()
	if p.live {
		s.tail = append(s.tail, lines...)
		s.tail = s.tail[max(0, len(s.tail)-6):]
		p.draw(false)
		return
	}
	if len(lines) > 0 || !s.headed {
		s.spoke = time.Now()
	}
	if !s.headed && s.Name != "" && (s.Started != nil || s.Ended != nil) {
		s.headed = true
		p.c.say("#%d %s", s.number, s.Name)
	}
	for _, line := range lines {
		p.c.say("#%d %s", s.number, line)
	}
	if s.Ended != nil && !s.ended && s.Name != "" {
		s.ended = true
		p.c.say("#%d %s", s.number, s.verdict())
	}
}

// output cuts what a step printed into lines.
func (s *step) output() []string {
	text := s.unfinish + string(s.Log)
	s.Log = nil
	lines := strings.Split(text, "\n")
	s.unfinish = lines[len(lines)-1]
	lines = lines[:len(lines)-1]
	for i, l := range lines {
		lines[i] = overwritten(l)
	}
	return lines
}

// overwritten is what a terminal shows of a line whose writer went back to its start, as those do that
// count: the last of it.
func overwritten(line string) string {
	line = strings.TrimRight(line, "\r")
	return line[strings.LastIndexByte(line, '\r')+1:]
}

func (s *step) verdict() string {
	switch {
	case s.Error != "":
		return "ERROR: " + s.Error
	case s.Cached:
		return "CACHED"
	case s.Started != nil && s.Progress.Ended != nil:
		return fmt.Sprintf("DONE %.1fs", s.Progress.Ended.Sub(*s.Started).Seconds())
	}
	return "DONE"
}

// drawEvery keeps a build that prints much from costing more than it does.
const drawEvery = 80 * time.Millisecond

// draw shows all steps over what was drawn before: as many of the last ones as fit.
func (p *progress) draw(last bool) {
	if !last && time.Since(p.at) < drawEvery {
		return
	}
	p.at = time.Now()
	width, height := p.screen.size()
	// BuildKit tells of the last step first.
	slices.SortStableFunc(p.order, func(a, b *step) int { return a.begun().Compare(b.begun()) })
	var lines []string
	for _, s := range p.order {
		if s.Name == "" {
			continue
		}
		lines = append(lines, s.line(width))
		if s.Progress.Ended == nil || s.Error != "" {
			for _, t := range s.tail {
				lines = append(lines, cut(" │ "+api.Printable(t), width))
			}
		}
	}
	if !last {
		lines = lines[max(0, len(lines)-height+2):]
	}
	p.screen.draw(lines)
}

// begun is when the step was, far from now where it has not been yet.
func (s *step) begun() time.Time {
	if s.Started == nil {
		return time.Now().Add(time.Hour)
	}
	return *s.Started
}

// line is " => [2/3] RUN make      1.2s", as wide as the terminal.
func (s *step) line(width int) string {
	mark, right := "=>", ""
	switch {
	case s.Error != "":
		right = "ERROR"
	case s.Cached:
		mark, right = "=> CACHED", "0.0s"
	case s.Started != nil && s.Progress.Ended != nil:
		right = fmt.Sprintf("%.1fs", s.Progress.Ended.Sub(*s.Started).Seconds())
	case s.Started != nil:
		right = fmt.Sprintf("%.1fs", max(0, time.Since(*s.Started).Seconds()))
	}
	if s.Total > 0 && s.Progress.Ended == nil {
		right = sizeOf(s.Current) + "/" + sizeOf(s.Total) + "  " + right
	}
	left := cut(" "+mark+" "+api.Printable(s.Name), width-len(right)-2)
	return left + strings.Repeat(" ", max(1, width-columns(left)-len(right)-1)) + right
}

// end leaves what was drawn where it is; what comes next stands below.
func (p *progress) end() {
	if p.live && len(p.drawn) > 0 {
		p.draw(true)
	}
	p.screen.end()
	p.order = p.order[:0]
	clear(p.steps)
}
