package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ctdplugins "github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"google.golang.org/grpc"
)

type grpcService interface {
	Register(*grpc.Server) error
}

// grpcServices picks out of what containerd has started all that can be served.
func grpcServices(ic *plugin.InitContext) []grpcService {
	var all []grpcService
	for _, p := range ic.Plugins().GetAll() {
		if p.Registration.Type != ctdplugins.GRPCPlugin {
			continue
		}
		// One that failed to start is in containerd's log already.
		if instance, err := p.Instance(); err == nil {
			if s, ok := instance.(grpcService); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

type socket struct {
	path   string
	server *grpc.Server
}

// Socket returns the path of a unix socket with containerd's services, for a child process that has to
// reach them. It is started at the first call and open to root alone.
func (e *Engine) Socket() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.socket == nil {
		s, err := e.serve()
		if err != nil {
			return "", err
		}
		e.socket = s
	}
	return e.socket.path, nil
}

func (e *Engine) serve() (*socket, error) {
	s := &socket{path: filepath.Join(e.cfg.State, "g", "containerd.sock")}
	s.server = grpc.NewServer(
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize), grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return next(namespaced(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			return next(srv, stream{ss, namespaced(ss.Context())})
		}),
	)
	for _, service := range e.grpc {
		if err := service.Register(s.server); err != nil {
			return nil, fmt.Errorf("serve containerd's services: %w", err)
		}
	}
	// The folder is private before the socket exists: no moment between bind and chmod is of use to anyone.
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("serve containerd's services: %w", err)
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("serve containerd's services: %w", err)
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, fmt.Errorf("serve containerd's services: %w", err)
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("serve containerd's services: %w", err)
	}
	go func() {
		if err := s.server.Serve(l); err != nil {
			e.log.Error("containerd's services are no longer served", "err", err)
		}
	}()
	return s, nil
}

func (s *socket) close() { s.server.Stop() }

// namespaced copies the namespace of an incoming call to what is called in its course.
func namespaced(ctx context.Context) context.Context {
	if ns, ok := namespaces.Namespace(ctx); ok {
		return namespaces.WithNamespace(ctx, ns)
	}
	return ctx
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }
