package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/leaseutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
)

const maxMessage = 16 << 20 // bytes, of BuildKit's own calls

type server struct {
	settings   build.Settings
	log        *slog.Logger
	controller *control.Controller
	leases     *leaseutil.Manager
	grpc       *grpc.Server
	client     *client.Client
	contexts   *contexts
}

func newServer(ctx context.Context, s build.Settings, log *slog.Logger) (*server, error) {
	c, leases, contexts, err := newController(ctx, s)
	if err != nil {
		return nil, err
	}
	gs := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		// Without these, errors would lose their details.
		grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor), grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor))
	c.Register(gs)
	mem := bufconn.Listen(1 << 20)
	go func() { _ = gs.Serve(mem) }() // until close
	bk, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return mem.DialContext(ctx)
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to BuildKit: %w", err)
	}
	return &server{settings: s, log: log, controller: c, leases: leases, grpc: gs, client: bk, contexts: contexts}, nil
}

func (s *server) close() {
	s.client.Close()
	s.grpc.Stop()
	if err := s.dropLeases(context.Background()); err != nil {
		s.log.Warn("drop temporary leases", "err", err)
	}
	if err := s.controller.Close(); err != nil {
		s.log.Warn("close BuildKit", "err", err)
	}
}

// dropLeases removes BuildKit's temporary leases. If there is no time for that, the next start of its worker does it.
func (s *server) dropLeases(ctx context.Context) error {
	all, err := s.leases.List(ctx, `labels."buildkit/lease.temporary"`)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range all {
		errs = append(errs, s.leases.Delete(ctx, l))
	}
	return errors.Join(errs...)
}

// serve accepts connections with one request each until ctx ends.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	var builds sync.WaitGroup
	defer builds.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		builds.Go(func() {
			defer conn.Close()
			s.answer(ctx, conn)
		})
	}
}

func (s *server) answer(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var r build.Request
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		s.log.Warn("read a request", "err", err)
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, conn) // ends when the node cancels the request
		cancel()
	}()
	enc := json.NewEncoder(conn)
	send := func(e build.Event) {
		if err := enc.Encode(e); err != nil {
			cancel()
		}
	}
	answer := build.Event{Done: true}
	var err error
	if r.Prune {
		answer.Freed, err = s.prune(ctx)
	} else {
		answer.Digest, err = s.solve(ctx, r, func(p runtime.Progress) { send(build.Event{Progress: &p}) })
	}
	if err != nil {
		answer = build.Event{Failure: failure(err)}
	}
	send(answer)
}

// prune removes everything from the build cache that is not in use.
func (s *server) prune(ctx context.Context) (int64, error) {
	var freed int64
	gone := make(chan client.UsageInfo)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for u := range gone {
			freed += u.Size
		}
	}()
	err := s.client.Prune(ctx, gone, client.PruneAll)
	close(gone)
	<-counted
	return freed, err
}
