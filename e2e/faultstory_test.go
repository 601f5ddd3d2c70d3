package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

var stagedHost = regexp.MustCompile(`http://(\S+)`)

// story is how a release gets into production. A node is lost during each step.
type story struct {
	*trial
	steps []chapter
	round int
	at    int // the next step of the round
}

// chapter is one of the story; its zero value does nothing.
type chapter struct {
	name  string
	lasts time.Duration // about
	do    func(context.Context, *machine) error
}

func newStory(t *trial) *story { return &story{trial: t} }

// next returns the step for a fault: the story is told at the beginning, and again from time to time.
func (s *story) next(n int) chapter {
	if s.at == len(s.steps) {
		if s.brief || n%40 != 0 {
			return chapter{}
		}
		s.round++
		s.steps, s.at = s.tell(s.round), 0
	}
	s.at++
	return s.steps[s.at-1]
}

// tell returns the steps of the protoduction story, for an app of its own.
func (s *story) tell(round int) []chapter {
	app := fmt.Sprintf("shop%d", round)
	public, staged := fmt.Sprintf("www%d.example.com", round), ""
	do := func(args ...string) func(context.Context, *machine) error {
		return func(ctx context.Context, m *machine) error {
			_, err := m.on(ctx, append([]string{"micro"}, args...)...)
			return err
		}
	}
	return []chapter{
		{"push", 2 * time.Second, do("push", "--image", s.image, "--app", app, "-i", "3")},
		{"map", 200 * time.Millisecond, func(ctx context.Context, m *machine) error {
			err := do("map", app, public)(ctx, m)
			if err == nil {
				s.addHost(public)
			}
			return err
		}},
		{"push --stage", 2 * time.Second, func(ctx context.Context, m *machine) error {
			out, err := m.on(ctx, "micro", "push", "--image", s.image, "--app", app, "--stage", "-i", "1", "-e", "N=2")
			if found := stagedHost.FindStringSubmatch(out); err == nil && found != nil {
				staged = found[1]
			}
			return err
		}},
		{"a test of the staged release", 200 * time.Millisecond, func(ctx context.Context, m *machine) error {
			for began := time.Now(); ; pauseFor(ctx, 100*time.Millisecond) { // its one instance may be on the lost node
				page, err := request(ctx, m, staged)
				if err == nil && strings.Contains(page, app+" r2") {
					return nil
				}
				if time.Since(began) > elsewhere {
					return fmt.Errorf("%q, %w", page, err)
				}
			}
		}},
		{"scale", time.Second, do("scale", app+"@r2", "-i", "3")},
		// It takes as long as its evidence: with the usual margins, 600 requests to the new release, which these clients send in
		// 20 to 60 seconds, whatever fails. These margins need a tenth of that.
		{"crossfade", 4 * time.Second, do("crossfade", public, "--to", app+"@r2", "--over", "4s", "--steps", "20,60,100", "--guard", "errors", "--errors-margin", "5", "--yes")},
		{"delete", time.Second, func(ctx context.Context, m *machine) error {
			s.removeHost(public)
			pauseFor(ctx, time.Second) // requests that are under way
			return do("delete", app, "--yes")(ctx, m)
		}},
	}
}
