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

// Config configures a store. Engine is required.
type Config struct {
	Engine kv.Engine
	// Keys returns what seals the key to the store's values; fresh says that no secret of this cloud was ever sealed,
	// so that a new key may be made. Without Keys the store is not encrypted.
	Keys func(fresh bool) (Sealer, error)
	Log  *slog.Logger
	// Node is the name of this node, if the cloud has several.
	Node cloud.NodeName
	// Version of this micro, recorded with the schema.
	Version string
	// AuditLines is how many audit lines are kept at least; 0 is DefaultAuditLines.
	AuditLines int
	// OnState is called with every new State, in order and before the Update that made it returns. It must
	// be quick, and must not call the store. It may be nil.
	OnState func(*cloud.State)
	// Before is called before a change of another node is applied, with the engine's revision that made it. It may wait
	// until what was written before that is known elsewhere. It may be nil.
	Before func(ctx context.Context, rev int64)
	// Observed is called before a change of places is decided, with the engine's revision of the head that the change will
	// depend on. It waits until what other nodes wrote up to then is known, and reports whether there are others. After an
	// error nothing is changed. It may be nil.
	Observed func(ctx context.Context, rev int64) (others bool, err error)
	Now      func() time.Time
}

// Store reads and changes the desired state. It sees changes of other nodes only while Run runs.
type Store struct {
	cfg      Config
	engine   kv.Engine
	log      *slog.Logger
	values   *values
	refusals refusals
	unknown  sync.Map // kinds of objects that warnNewer has logged

	// committing is held during a transaction. Requests that arrive meanwhile wait in queue.
	committing sync.Mutex

	mu      sync.Mutex
	queue   []*request
	state   *cloud.State
	head    head
	headRev int64         // the engine's revision that last wrote the head
	seen    int64         // the engine's revision up to which state and head are current
	changed chan struct{} // closed and replaced with every new head
}

// Open reads the state, and migrates a store that an older micro wrote. It returns a *cloud.Error if a newer
// micro wrote the store, or if it cannot be read.
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
	v, err := openValues(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, cfg, migrations(v)); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, engine: cfg.Engine, values: v, log: cfg.Log, changed: make(chan struct{})}
	s.refusals.start(cfg.Now())
	return s, s.load(ctx)
}

// Epoch identifies this store's history: revisions and audit lines of different epochs can't be compared.
func (s *Store) Epoch() string { return s.engine.Epoch() }

// State returns the newest known state.
func (s *Store) State() *cloud.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Watch yields the newest State, and then each newer one until ctx ends. A slow caller may miss states in
// between, but never the last.
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

// Run applies changes of other nodes and writes refusals to the audit log until ctx ends. The engine must
// stay open until Run returns.
func (s *Store) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var writing sync.WaitGroup
	writing.Go(func() { s.writeRefusals(ctx) })
	defer writing.Wait()
	defer cancel()
	for {
		err := s.watchEngine(ctx)
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		for err := s.load(ctx); err != nil; err = s.load(ctx) {
			if !passes(err) {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(reloadAfter):
			}
		}
	}
}

// reloadAfter is the pause after the engine could not be read.
const reloadAfter = time.Second

// passes reports whether reading the engine again will do after an error.
func passes(err error) bool {
	return errors.Is(err, kv.ErrCompacted) || cloud.CodeOf(err) == cloud.Unavailable
}

// Move changes the engine's history: replace copies all pairs to another engine, which the engine uses from then on. No
// change of this store runs meanwhile.
func (s *Store) Move(ctx context.Context, replace func() error) error {
	s.committing.Lock()
	defer s.committing.Unlock()
	if err := replace(); err != nil {
		return err
	}
	s.mu.Lock()
	s.seen = 0 // the engine's revisions begin anew
	s.mu.Unlock()
	return s.load(ctx)
}

// currentHead returns the newest head, and a channel that is closed when there is a newer one.
func (s *Store) currentHead() (head, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.changed
}

// setState sets the newest state and head, which the engine wrote at revision rev. s.mu must be held.
func (s *Store) setState(state *cloud.State, h head, rev int64) {
	s.head, s.headRev, s.seen = h, rev, rev
	close(s.changed)
	s.changed = make(chan struct{})
	if state != s.state && s.cfg.OnState != nil {
		s.cfg.OnState(state)
	}
	s.state = state
}
