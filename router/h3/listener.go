package h3

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Protocol is the name of HTTP/3 in ALPN.
const Protocol = http3.NextProtoH3

// ListenerConfig says how connections are accepted.
type ListenerConfig struct {
	TLS *tls.Config // its protocol is Protocol
	// Secret is the cloud's, from which the keys of address tokens and of stateless resets follow: clients of a node that
	// was killed learn at once that their connections are gone.
	Secret []byte
	// Begin is called with the address of a client that begins a handshake, which may be forged. It returns the context of
	// the connection and of its handshake, or an error to refuse it.
	Begin func(ctx context.Context, from net.Addr) (context.Context, error)
	// Handshake bounds a handshake, and Idle how long a client may be silent.
	Handshake, Idle time.Duration
}

const (
	// maxStreams is how many requests a client may have open at a time on a connection.
	maxStreams = 100
	// maxUniStreams is how many streams of one direction it may have: three are of use (RFC 9114, section 6.2).
	maxUniStreams = 8
	// Windows for what clients send before the core takes it.
	streamWindow = 256 << 10
	connWindow   = 1 << 20
	// keepAlive is how often a silent client is asked whether it is there: it may wait for an answer for long.
	keepAlive = 20 * time.Second
	// checkAddresses is how many handshakes may be under way before clients have to show that their addresses are
	// theirs.
	checkAddresses = 64
)

// Listener accepts connections.
type Listener struct {
	transport *quic.Transport
	listener  *quic.Listener
	begun     atomic.Int64 // handshakes
	shaking   atomic.Int64 // handshakes under way
}

// Listen accepts connections on a UDP socket. The caller closes the socket after End.
func Listen(socket net.PacketConn, cfg ListenerConfig) (*Listener, error) {
	l := &Listener{}
	reset, token := quic.StatelessResetKey(derive(cfg.Secret, "QUIC stateless reset")), quic.TokenGeneratorKey(derive(cfg.Secret, "QUIC address token"))
	l.transport = &quic.Transport{
		Conn: socket, ConnectionIDLength: 4, StatelessResetKey: &reset, TokenGeneratorKey: &token,
		VerifySourceAddress: func(net.Addr) bool { return l.shaking.Load() > checkAddresses },
		ConnContext: func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			ctx, err := cfg.Begin(ctx, info.RemoteAddr)
			if err != nil {
				return nil, err
			}
			h := &handshake{l: l}
			l.begun.Add(1)
			l.shaking.Add(1)
			context.AfterFunc(ctx, h.end) // where it fails
			return context.WithValue(ctx, handshakeKey{}, h), nil
		},
	}
	var err error
	l.listener, err = l.transport.Listen(cfg.TLS, &quic.Config{
		HandshakeIdleTimeout: cfg.Handshake, MaxIdleTimeout: cfg.Idle, KeepAlivePeriod: keepAlive,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: streamWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: connWindow,
		MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: maxUniStreams,
	})
	if err != nil {
		return nil, err
	}
	_ = l.filter(nil) // that of a listener that has left the socket to this one; most have none
	return l, nil
}

// handshake counts a handshake that is under way.
type handshake struct {
	l    *Listener
	over atomic.Bool
}

type handshakeKey struct{}

func (h *handshake) end() {
	if !h.over.Swap(true) {
		h.l.shaking.Add(-1)
	}
}

// derive makes a key for a purpose.
func derive(secret []byte, purpose string) [32]byte {
	sum := hmac.New(sha256.New, secret)
	sum.Write([]byte(purpose))
	return [32]byte(sum.Sum(nil))
}

// Accept returns the next connection whose handshake is over.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	qc, err := l.listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	if h, ok := qc.Context().Value(handshakeKey{}).(*handshake); ok {
		h.end()
	}
	return &Conn{qc: qc}, nil
}

// Close refuses new connections. Those that were accepted live on until End.
func (l *Listener) Close() { _ = l.listener.Close() }

// End ends all connections.
func (l *Listener) End() { _ = l.transport.Close() }
