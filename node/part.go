package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// part is one thing that runs as long as the node does.
type part struct {
	name string
	run  func(context.Context) error // returns nil when its context ends
	// grace is how long it may take to end.
	grace time.Duration
}

// parts run at the same time and stop one at a time, the last one first.
type parts struct {
	log     *slog.Logger
	started []running
	failed  chan error
}

type running struct {
	part
	cancel context.CancelFunc
	done   chan struct{}
}

func newParts(log *slog.Logger) *parts { return &parts{log: log, failed: make(chan error, 1)} }

// start runs a part until stop. A part that ends before that fails the node.
func (p *parts) start(ctx context.Context, name string, grace time.Duration, run func(context.Context) error) {
	// A part ends when its turn has come, not when the caller's context does.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := running{part{name, run, grace}, cancel, make(chan struct{})}
	p.started = append(p.started, r)
	go func() {
		defer close(r.done)
		err := run(own)
		if own.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				p.log.Warn("part ended badly", "part", name, "err", err)
			}
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		select {
		case p.failed <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	}()
}

// stop ends all parts, the last started first, each within its grace.
func (p *parts) stop() {
	for _, r := range slices.Backward(p.started) {
		r.cancel()
		select {
		case <-r.done:
		case <-time.After(r.grace):
			p.log.Warn("part has not ended in time", "part", r.name, "grace", r.grace)
		}
	}
	p.started = nil
}
