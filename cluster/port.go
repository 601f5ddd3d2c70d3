package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

// The protocols of the port, by their ALPN names.
const (
	ProtoAPI      = "micro-api"
	ProtoRegistry = "micro-registry"
	ProtoEtcd     = "micro-etcd"
	ProtoJoin     = "micro-join"
	ProtoRecord   = "micro-record"
	protoRaft     = "" // etcd's peers name no protocol
)

const handshakeTimeout = 10 * time.Second

// Server answers the other nodes of the cloud on one port. Handlers may be set before it listens, and later.
type Server struct {
	Log *slog.Logger
	// Knows reports whether a node is one of the cloud now, by its name and the hash of its public key (KeyHash). It
	// keeps out a node that was removed: its certificate is good for a while. As long as the store can't be read, it
	// must accept all, because nodes need each other to read it.
	Knows func(name cloud.NodeName, key string) bool
	// Early lets Listen bind an address that the machine is to have only later: a worker's in the overlay.
	Early bool

	mu       sync.Mutex
	queues   map[string]*queue
	identity *Identity
	listener net.Listener
}

// Listen binds the port. Connections are answered by Serve.
func (s *Server) Listen(ctx context.Context, addr netip.AddrPort) (*net.TCPListener, error) {
	// etcd's peers ask the environment for a proxy, which can't be told otherwise.
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: addr.String()}})
	if err != nil || proxy != nil {
		return nil, cloud.Errorf(cloud.Invalid, "HTTPS_PROXY is set for micro, and nodes can't reach each other by a proxy").WithHint("add the nodes' addresses to NO_PROXY, for example NO_PROXY=%s", addr.Addr())
	}
	listen := net.ListenConfig{Control: giveUpUnconfirmed}
	if s.Early {
		listen.Control = bindEarly
	}
	l, err := listen.Listen(ctx, "tcp", addr.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cloud.Errorf(cloud.Conflict, "cluster address %s is taken", addr).WithHint("choose another one with --cluster")
	case err != nil:
		return nil, cloud.Errorf(cloud.Invalid, "cannot listen on cluster address %s: %w", addr, err).WithHint("choose an address of this machine with --cluster")
	}
	return l.(*net.TCPListener), nil
}

// Handle sets what answers a protocol. The handler gets the name of the calling node by PeerOf.
func (s *Server) Handle(proto string, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: handshakeTimeout, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if p, ok := c.(*conn); ok {
				ctx = context.WithValue(ctx, peerKey{}, p)
			}
			return ctx
		},
	}
	q := s.listen(proto)
	q.server = srv
	go func() { _ = srv.Serve(q) }() // ends when the queue is closed or replaced
}

type peerKey struct{}

// PeerOf returns the node that sent a request; "" for one that joins.
func PeerOf(ctx context.Context) cloud.NodeName {
	if c, ok := ctx.Value(peerKey{}).(*conn); ok {
		return c.peer
	}
	return ""
}

// keyOf returns the KeyHash of the node that sent a request.
func keyOf(ctx context.Context) string {
	if c, ok := ctx.Value(peerKey{}).(*conn); ok {
		return c.key
	}
	return ""
}

// listen returns a listener that gets the connections of a protocol. It takes the place of an earlier one.
func (s *Server) listen(proto string) *queue {
	q := &queue{conns: make(chan net.Conn), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues == nil {
		s.queues = map[string]*queue{}
	}
	if old := s.queues[proto]; old != nil {
		old.Close()
	}
	s.queues[proto] = q
	return q
}

func (s *Server) queue(proto string) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[proto]
}

// Serve answers connections until ctx ends. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener, id *Identity) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // too many files, a connection that was reset: it passes
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		go s.accept(ctx, c, id)
	}
}

// accept hands a connection to whoever answers its protocol.
func (s *Server) accept(ctx context.Context, raw net.Conn, id *Identity) {
	c := tls.Server(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return s.config(hello, id) },
	})
	shaking, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(shaking); err != nil {
		s.Log.Debug("a connection of another node failed", "from", raw.RemoteAddr().String(), "err", err)
		raw.Close()
		return
	}
	state := c.ConnectionState()
	of := &conn{Conn: c}
	if len(state.PeerCertificates) > 0 {
		of.peer = cloud.NodeName(state.PeerCertificates[0].Subject.CommonName)
		of.key, _ = KeyHash(state.PeerCertificates[0].PublicKey) // the handshake has read it
	}
	q := s.queue(state.NegotiatedProtocol)
	if q == nil || !q.put(ctx, of) {
		c.Close()
	}
}

// config returns how to answer a client, by the protocol that it names.
func (s *Server) config(hello *tls.ClientHelloInfo, id *Identity) (*tls.Config, error) {
	proto := protoRaft
	if len(hello.SupportedProtos) > 0 {
		known := slices.IndexFunc(hello.SupportedProtos, func(p string) bool { return s.queue(p) != nil })
		if known < 0 {
			return nil, cloud.Errorf(cloud.NotFound, "unknown protocol %q", hello.SupportedProtos)
		}
		proto = hello.SupportedProtos[known]
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Certificates: []tls.Certificate{*id.current.Load()},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: id.roots,
	}
	if proto != protoRaft {
		cfg.NextProtos = []string{proto}
	}
	if proto == ProtoJoin {
		cfg.ClientAuth = tls.NoClientCert
		return cfg, nil
	}
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		key, err := KeyHash(leaf.PublicKey)
		if err == nil && s.Knows != nil && proto != ProtoRecord && !s.Knows(cloud.NodeName(leaf.Subject.CommonName), key) {
			return cloud.Errorf(cloud.Denied, "node %s is not in this cloud", leaf.Subject.CommonName)
		}
		return err
	}
	return cfg, nil
}

// conn hides that a connection is TLS from net/http, which would look for a handler of its protocol.
type conn struct {
	net.Conn
	peer cloud.NodeName
	key  string
}

// queue is a listener of connections that were accepted elsewhere.
type queue struct {
	conns  chan net.Conn
	once   sync.Once
	done   chan struct{}
	server *http.Server // that answers them; nil for gRPC's
}

// cut closes the queue and all connections that came by it.
func (q *queue) cut() {
	q.Close()
	if q.server != nil {
		_ = q.server.Close() // of connections that nobody uses any more
	}
}

func (q *queue) put(ctx context.Context, c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
	case <-ctx.Done():
	}
	return false
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
