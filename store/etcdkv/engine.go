package etcdkv

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// These follow the prefix of the engine.
const (
	keysPrefix    = "k/" // followed by a key of the store
	writersPrefix = "w/" // followed by an engine's name
)

// requestTimeout is how long etcd may take for one request. An election takes a second or two.
const requestTimeout = 5 * time.Second

// Config configures an engine.
type Config struct {
	// Client is connected to etcd. Close does not close it.
	Client *clientv3.Client
	// Name must be unique among the engines that use the same etcd and prefix: the node's name.
	Name string
	// Prefix is what all keys in etcd begin with: "" in an etcd that has nothing else.
	Prefix string
	// LeaderChanged returns a channel that is closed when etcd knows another leader than now. It may be nil.
	LeaderChanged func() <-chan struct{}
}

// Engine stores keys in etcd. It implements kv.Engine.
type Engine struct {
	client *clientv3.Client
	prefix string // of all keys
	keys   string // the prefix of the store's keys
	writer string // the writer's key
	epoch  string

	leaderChanged func() <-chan struct{}

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	busy   sync.WaitGroup

	turn chan struct{} // has a token, which the running transaction takes
	last int64         // etcd's revision that last wrote the writer's key; guarded by the token
}

var _ kv.Engine = (*Engine)(nil)

// New returns an engine. It reads the writer's key from etcd, so it fails if no majority answers before ctx ends.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Name == "" || strings.Contains(cfg.Name, "/") {
		return nil, cloud.Errorf(cloud.Invalid, "invalid engine name %q", cfg.Name)
	}
	e := &Engine{
		client: cfg.Client, prefix: cfg.Prefix, keys: cfg.Prefix + keysPrefix, writer: cfg.Prefix + writersPrefix + cfg.Name, turn: make(chan struct{}, 1),
		leaderChanged: cfg.LeaderChanged,
	}
	resp, err := e.client.Get(ctx, e.writer)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "read from etcd: %w", err)
	}
	if len(resp.Kvs) > 0 {
		e.last = resp.Kvs[0].ModRevision
	}
	e.epoch = strconv.FormatUint(resp.Header.ClusterId, 16) + cfg.Prefix
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.turn <- struct{}{}
	return e, nil
}

// Epoch implements kv.Engine. It is the ID of the etcd cluster, and the prefix; a cluster restored from a snapshot has a new
// ID.
func (e *Engine) Epoch() string { return e.epoch }

// Get implements kv.Engine.
func (e *Engine) Get(ctx context.Context, key string) (kv.Pair, error) {
	pair := kv.Pair{Key: key}
	ctx, stop := e.requestContext(ctx)
	defer stop()
	resp, err := e.get(ctx, e.keys+key)
	if err != nil {
		return pair, e.readError(ctx, err)
	}
	if len(resp.Kvs) > 0 {
		pair = kv.Pair{Key: key, Value: value(resp.Kvs[0].Value), Rev: resp.Kvs[0].ModRevision - 1}
	}
	return pair, nil
}

// get reads from etcd, which gives up all reads that its last leader has not answered.
func (e *Engine) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	for {
		resp, err := e.client.Get(ctx, key, opts...)
		if err == nil || ctx.Err() != nil || !hasNewLeader(err) {
			return resp, err
		}
	}
}

// List implements kv.Engine.
func (e *Engine) List(ctx context.Context, prefix string) ([]kv.Pair, int64, error) {
	ctx, stop := e.requestContext(ctx)
	defer stop()
	resp, err := e.get(ctx, e.keys+prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, e.readError(ctx, err)
	}
	var pairs []kv.Pair
	for _, p := range resp.Kvs {
		pairs = append(pairs, kv.Pair{Key: strings.TrimPrefix(string(p.Key), e.keys), Value: value(p.Value), Rev: p.ModRevision - 1})
	}
	return pairs, resp.Header.Revision - 1, nil
}

// ReadOwn returns all pairs that one etcd has, also if it reaches no majority: others may have newer ones. The client must
// be that of the etcd itself, which has nothing else.
func ReadOwn(ctx context.Context, client *clientv3.Client) (pairs []kv.Pair, err error) {
	resp, err := client.Get(ctx, keysPrefix, clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "read this node's copy of the store: %w", err)
	}
	for _, p := range resp.Kvs {
		pairs = append(pairs, kv.Pair{Key: strings.TrimPrefix(string(p.Key), keysPrefix), Value: value(p.Value), Rev: p.ModRevision - 1})
	}
	return pairs, nil
}

// value copies a value, because an etcd in the same process returns its own memory. An empty value is not nil.
func value(b []byte) []byte { return append([]byte{}, b...) }

// Compact implements kv.Engine.
func (e *Engine) Compact(ctx context.Context, rev int64) error {
	ctx, stop := e.requestContext(ctx)
	defer stop()
	if _, err := e.client.Compact(ctx, rev+1); err != nil && !isCompacted(err) {
		return e.readError(ctx, err)
	}
	return nil
}

// Close implements kv.Engine. The outcome of a transaction that etcd has not answered yet stays unknown.
func (e *Engine) Close() error {
	e.cancel()
	e.busy.Wait()
	return nil
}

// requestContext returns a context that ends with ctx, with the engine, and after requestTimeout.
func (e *Engine) requestContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errSlow)
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// whenSilent returns what a user may do when etcd does not answer. An etcd with a prefix is the user's own.
func (e *Engine) whenSilent() string {
	if e.prefix != "" {
		return "check that etcd is up, and that this machine reaches it"
	}
	return "check that a majority of the nodes is up"
}

var errSlow = errors.New("etcd did not answer within " + requestTimeout.String())

// readError returns the error for a failed request that changes nothing.
func (e *Engine) readError(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case e.ctx.Err() != nil:
		return kv.ErrClosed
	case cause == errSlow:
		return cloud.Errorf(cloud.Unavailable, "%w", errSlow).WithHint("%s", e.whenSilent())
	case cause != nil:
		return cause
	}
	return cloud.Errorf(cloud.Unavailable, "etcd: %w", err)
}
