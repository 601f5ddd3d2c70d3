package router

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/protoduction/micro/cloud"
)

// healthServer is a gRPC service with a call and a stream; what a call asks for says how it ends.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
	hung atomic.Int64
}

func (s *healthServer) Check(ctx context.Context, q *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	switch q.Service {
	case "hang":
		<-ctx.Done()
		s.hung.Add(1)
		return nil, ctx.Err()
	case "fail":
		return nil, status.Error(codes.Internal, "it failed")
	case "nobody":
		return nil, status.Error(codes.NotFound, "nobody")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (s *healthServer) Watch(q *grpc_health_v1.HealthCheckRequest, out grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	for range 5 {
		if err := out.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// echoStream answers every message of a stream in both directions with itself.
var echoStream = grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
	StreamName: "Talk", ServerStreams: true, ClientStreams: true,
	Handler: func(_ any, s grpc.ServerStream) error {
		for {
			m := new(grpc_health_v1.HealthCheckRequest)
			if err := s.RecvMsg(m); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(m); err != nil {
				return err
			}
		}
	},
}}}

// TestGRPC: calls and streams of a real client to a real server, through deploys, and none is lost.
func TestGRPC(t *testing.T) {
	f := newFront(t, Config{})
	service := &healthServer{}
	start := func(release int) cloud.InstanceID {
		s := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(s, service)
		s.RegisterService(&echoStream, nil)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(s.Stop)
		return f.world.up("shop", release, ln.Addr().String())
	}
	f.world.app("shop", 1, 9)
	for n := 1; n <= 9; n++ {
		rel, _ := f.world.view.State.Release(ref("shop").Release(n))
		next := *rel
		next.Spec.Processes = map[cloud.ProcessName]cloud.Process{cloud.Web: {Protocol: cloud.ProtocolHTTP2}}
		f.world.put(&next)
	}
	ids := []cloud.InstanceID{start(1), start(1)}
	f.swap()
	addr := f.listen(Listener{Internal: true, Scheme: "https", Handshake: secured(t, Protocols()...)})
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: shopHost})), grpc.WithAuthority(shopHost))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)
	check := func(ctx context.Context, service string) codes.Code {
		_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		return status.Code(err)
	}
	if got := check(t.Context(), ""); got != codes.OK {
		t.Fatalf("a call: %v", got)
	}
	f.seen.next(t)
	for service, want := range map[string]codes.Code{"fail": codes.Internal, "nobody": codes.NotFound} {
		if got := check(t.Context(), service); got != want {
			t.Errorf("%s: %v", service, got)
		}
		if x := f.seen.next(t); x.GRPCStatus != uint8(want) || x.Status != 200 || x.failed() != (want == codes.Internal) {
			t.Errorf("%s is recorded with %d of %d, failed %v", service, x.GRPCStatus, x.Status, x.failed())
		}
	}
	// A deadline reaches the app, which hears of its end.
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got := check(short, "hang"); got != codes.DeadlineExceeded {
		t.Errorf("a deadline: %v", got)
	}
	eventually(t, func() bool { return service.hung.Load() == 1 })

	// Calls and streams under load, while releases come and go.
	var calls, failed atomic.Int64
	lost := func(what string, err error) {
		if failed.Add(1) < 5 {
			t.Errorf("%s: %v", what, err)
		}
	}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	work := func(do func()) {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
					calls.Add(1)
				}
			}
		})
	}
	for range 4 {
		work(func() {
			if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
				lost("call", err)
			}
		})
	}
	work(func() {
		s, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		for n := 0; err == nil; n++ {
			if _, err = s.Recv(); err == io.EOF && n != 5 {
				err = fmt.Errorf("it ended after %d messages", n)
			}
		}
		if err != io.EOF {
			lost("stream", err)
		}
	})
	work(func() {
		s, err := conn.NewStream(t.Context(), &echoStream.Streams[0], "/test.Echo/Talk")
		for n := 0; n < 20 && err == nil; n++ {
			sent, got := &grpc_health_v1.HealthCheckRequest{Service: fmt.Sprint(n)}, new(grpc_health_v1.HealthCheckRequest)
			if err = s.SendMsg(sent); err == nil {
				err = s.RecvMsg(got)
			}
			if err == nil && got.Service != sent.Service {
				err = fmt.Errorf("%s came back as %s", sent.Service, got.Service)
			}
		}
		if err == nil {
			if err = s.CloseSend(); err == nil {
				if err = s.RecvMsg(new(grpc_health_v1.HealthCheckRequest)); err == io.EOF {
					err = nil
				}
			}
		}
		if err != nil {
			lost("talk", err)
		}
	})
	for n := 2; n <= 5; n++ {
		next := []cloud.InstanceID{start(n), start(n)}
		f.swap()
		time.Sleep(100 * time.Millisecond)
		f.world.put(&cloud.App{AppRef: ref("shop"), Created: birth, Current: n, Last: 9})
		for _, id := range ids {
			f.world.down(id)
		}
		f.swap()
		for _, id := range ids {
			if err := f.Drain(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		ids = next
	}
	close(stop)
	workers.Wait()
	if n := failed.Load(); n > 0 || calls.Load() < 50 {
		t.Errorf("%d of %d calls and streams failed", n, calls.Load())
	}
	t.Logf("%d calls and streams", calls.Load())
}
