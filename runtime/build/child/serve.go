package child

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
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
	grpc       *grpc.Server
	client     *client.Client
}

func newServer(ctx context.Context, s build.Settings, log *slog.Logger) (*server, error) {
	c, err := newController(ctx, s)
	if err != nil {
		return nil, err
	}
	gs := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	c.Register(gs)
	mem := bufconn.Listen(1 << 20)
	go gs.Serve(mem) // ends with close
	bk, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return mem.DialContext(ctx)
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to BuildKit: %w", err)
	}
	return &server{settings: s, log: log, controller: c, grpc: gs, client: bk}, nil
}

func (s *server) close() {
	s.client.Close()
	s.grpc.Stop()
	if err := s.controller.Close(); err != nil {
		s.log.Warn("close BuildKit", "err", err)
	}
}

// serve answers one build a connection until ctx ends.
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
		io.Copy(io.Discard, conn) // nothing more comes but the end: the node gave up
		cancel()
	}()
	enc := json.NewEncoder(conn)
	send := func(e build.Event) {
		if err := enc.Encode(e); err != nil {
			cancel()
		}
	}
	digest, err := s.solve(ctx, r, func(p runtime.Progress) { send(build.Event{Progress: &p}) })
	if err != nil {
		send(build.Event{Failure: failure(err)})
		return
	}
	send(build.Event{Digest: digest})
}
