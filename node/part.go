package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// part is a program that runs as long as the node does.
type part struct {
	name string
	run  func(context.Context) error // returns nil when its context ends
	// grace is how long the part may take to end.
	grace time.Duration
}

// parts runs parts at the same time and stops them one by one in reverse order.
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

// start runs a part until stop is called. A part that ends earlier stops the node with an error.
func (p *parts) start(ctx context.Context, name string, grace time.Duration, run func(context.Context) error) {
	// The part must end when stop cancels it, not when the caller's context ends.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := running{part{name, run, grace}, cancel, make(chan struct{})}
	p.started = append(p.started, r)
	go func() {
		defer close(r.done)
		err := run(own)
		if own.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				p.log.Warn("part ended with an error", "part", name, "err", err)
			}
			return
		}
		if err == nil {
			err = errors.New("ended unexpectedly")
		}
		select {
		case p.failed <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	}()
}

// stop ends all parts in reverse order and waits for each, up to its grace.
func (p *parts) stop() {
	for _, r := range slices.Backward(p.started) {
		r.cancel()
		select {
		case <-r.done:
		case <-time.After(r.grace):
			p.log.Warn("part did not end in time", "part", r.name, "grace", r.grace)
		}
	}
	p.started = nil
}
