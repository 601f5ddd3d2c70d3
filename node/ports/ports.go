package ports

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/protoduction/micro/node/addresses"
)

// Config is what a Ports needs.
type Config struct {
	// Wanted returns the ports that are routed, and whether the public may reach each.
	Wanted func() map[uint16]bool
	// Open listens on a port.
	Open func(port uint16, public bool) ([]addresses.PortListener, error)
	// Serve passes connections on until ctx ends, and closes the listener.
	Serve func(ctx context.Context, ln addresses.PortListener, port uint16) error
	Log   *slog.Logger
}

// Ports keeps routed ports open.
type Ports struct {
	Config
	running sync.WaitGroup

	mu     sync.Mutex
	until  context.Context // Run's; nil while it does not run
	open   map[uint16]*port
	faults map[uint16]error // why a port is not open
}

// port is an open port.
type port struct {
	public bool
	close  func()
}

// New returns a Ports, which Run runs.
func New(cfg Config) *Ports {
	return &Ports{Config: cfg, open: map[uint16]*port{}, faults: map[uint16]error{}}
}

// Changed says that the wanted ports may be others now. When it returns they are open, or have a fault.
func (p *Ports) Changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until != nil && p.until.Err() == nil {
		p.follow(p.until)
	}
}

func (p *Ports) runUntil(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = ctx
}

// retry is how often a port is tried that could not be opened.
const retry = 3 * time.Second

// Run opens and closes ports until ctx ends.
func (p *Ports) Run(ctx context.Context) error {
	again := time.NewTicker(retry)
	defer again.Stop()
	p.runUntil(ctx)
	defer p.running.Wait()
	defer p.runUntil(nil)
	for {
		p.Changed()
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// follow opens the ports that are wanted and closes the others. mu is held.
func (p *Ports) follow(ctx context.Context) {
	wanted := p.Wanted()
	for n, o := range p.open {
		if public, ok := wanted[n]; !ok || public != o.public {
			o.close()
			delete(p.open, n)
		}
	}
	maps.DeleteFunc(p.faults, func(n uint16, _ error) bool { _, ok := wanted[n]; return !ok })
	for n, public := range wanted {
		if p.open[n] != nil {
			continue
		}
		listeners, err := p.Open(n, public)
		if err != nil {
			if was := p.faults[n]; was == nil || was.Error() != err.Error() {
				p.Log.Warn("a routed port cannot be opened", "port", n, "err", err)
			}
			p.faults[n] = err
			continue
		}
		delete(p.faults, n)
		p.open[n] = p.serve(ctx, n, public, listeners)
	}
}

// serve serves an open port.
func (p *Ports) serve(ctx context.Context, n uint16, public bool, listeners []addresses.PortListener) *port {
	ctx, cancel := context.WithCancel(ctx)
	var accepting sync.WaitGroup
	for _, ln := range listeners {
		accepting.Go(func() {
			if err := p.Serve(ctx, ln, n); err != nil {
				p.Log.Warn("a routed port accepts no connections", "port", n, "err", err)
			}
		})
	}
	p.running.Go(accepting.Wait)
	// It is closed before another one opens the same port.
	return &port{public, func() { cancel(); accepting.Wait() }}
}

// Check reports why a port that is not routed yet can't be opened.
func (p *Ports) Check(n uint16, public bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.open[n]; o != nil {
		return nil // it is the router's already, and opened anew for others
	}
	listeners, err := p.Open(n, public)
	for _, ln := range listeners {
		_ = ln.Close()
	}
	return err
}

// Fault reports why a routed port is not open; nil where it is.
func (p *Ports) Fault(n uint16) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults[n]
}
