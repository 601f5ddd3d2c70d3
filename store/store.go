package store

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Config says what a store stands on.
type Config struct {
	Engine kv.Engine
	Log    *slog.Logger
	// Version of this micro, written beside what it migrates.
	Version string
	// AuditLines is how many audit lines are kept at least; 0 is DefaultAuditLines.
	AuditLines int
	// Show is called with every new State, in order and before the Update that made it returns. It must
	// be quick, and call nothing of the store's. It may be nil.
	Show func(*cloud.State)
	Now  func() time.Time
}

// Store shows and changes what is desired. Run must run for changes of other nodes to be seen.
type Store struct {
	cfg      Config
	engine   kv.Engine
	log      *slog.Logger
	refusals refusals
	unknown  sync.Map // kinds of objects that a warning was given of

	// committing is held while a transaction is under way; what comes meanwhile waits in queue.
	committing sync.Mutex

	mu      sync.Mutex
	queue   []*request
	state   *cloud.State
	head    head
	headRev int64         // the engine's revision that last wrote the head
	seen    int64         // the engine's revision up to which state and head are current
	changed chan struct{} // closed, and made anew, with every new head
}

// Open reads the state, and migrates it where an older micro wrote it. The error of a store that a newer
// micro wrote, or that cannot be read, is a *cloud.Error.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.AuditLines == 0 {
		cfg.AuditLines = DefaultAuditLines
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := migrate(ctx, cfg, migrations); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, engine: cfg.Engine, log: cfg.Log, changed: make(chan struct{})}
	s.refusals.start(cfg.Now())
	return s, s.load(ctx)
}

// Epoch names the life of the store: revisions and audit lines of another epoch are not comparable.
func (s *Store) Epoch() string { return s.engine.Epoch() }

// State is the newest that is known.
func (s *Store) State() *cloud.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Watch yields the newest State, and then newer ones as they come. Whoever is slow misses those in
// between, never the last. It ends with ctx.
func (s *Store) Watch(ctx context.Context) iter.Seq[*cloud.State] {
	return func(yield func(*cloud.State) bool) {
		var last *cloud.State
		for ctx.Err() == nil {
			s.mu.Lock()
			state, changed := s.state, s.changed
			s.mu.Unlock()
			if state != last {
				if last = state; !yield(state) {
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// Run follows what other nodes write, and writes refusals down, until ctx ends. The engine must stay open
// until it returns.
func (s *Store) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var writing sync.WaitGroup
	writing.Go(func() { s.writeRefusals(ctx) })
	defer writing.Wait()
	defer cancel()
	for {
		err := s.follow(ctx)
		if !errors.Is(err, kv.ErrCompacted) {
			return err
		}
		if err := s.load(ctx); err != nil {
			return err
		}
	}
}

// heads returns the newest head, and a channel that is closed when there is a newer one.
func (s *Store) heads() (head, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.changed
}

// show makes a state the newest, with the engine's revision it is of. s.mu is held.
func (s *Store) show(state *cloud.State, h head, rev int64) {
	s.head, s.headRev, s.seen = h, rev, rev
	close(s.changed)
	s.changed = make(chan struct{})
	if state != s.state && s.cfg.Show != nil {
		s.cfg.Show(state)
	}
	s.state = state
}
