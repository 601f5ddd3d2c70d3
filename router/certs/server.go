package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Clients is who vouches for the clients of a host.
type Clients struct {
	Pool *x509.CertPool // nil: anybody is let in
	ID   string         // the same for the same authorities
}

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Local  *Local
	Public *Public
	Files  *Files
	// Host says whether the router knows a host by name, on its internal listeners or its public ones, and who vouches
	// for its clients.
	Host func(internal bool, name string) (c Clients, known bool)
	// Secret is the cloud's, from which the keys of session tickets follow.
	Secret []byte
	// Protocols are what the router speaks under TLS, by their names in ALPN, the best first.
	Protocols []string
	Log       *slog.Logger
	Now       func() time.Time
}

// Server is the TLS of the router's listeners.
type Server struct {
	ServerConfig
	internal, public *tls.Config
	refusing         *tls.Config // has no certificate for anybody
}

// NewServer returns a Server.
func NewServer(cfg ServerConfig) (*Server, error) {
	s := &Server{ServerConfig: cfg}
	s.internal, s.public, s.refusing = s.base(), s.base(), s.base()
	s.internal.GetCertificate, s.public.GetCertificate = s.internalCertificate, s.publicCertificate
	s.refusing.SessionTicketsDisabled = true
	// Without a certificate the handshake ends with the alert unrecognized_name.
	s.refusing.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	return s, s.rotate()
}

// base is what all listeners have in common.
func (s *Server) base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Of TLS 1.2 only what has forward secrecy and authenticated encryption; TLS 1.3 has nothing else.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: s.Protocols,
		Time:       s.Now,
	}
}

// conn is a connection after its handshake.
type conn struct {
	*tls.Conn
	clients string
}

// ClientsID is the ID of the Clients that the handshake went by; "" for none.
func (c *conn) ClientsID() string { return c.clients }

// Handshake is a router.Listener's. internal says that the connection may ask for internal names.
func (s *Server) Handshake(ctx context.Context, c net.Conn, internal bool) (net.Conn, string, error) {
	made := &conn{}
	cfg := &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return s.config(hello, internal, made) },
		// There must be something in it that could have a certificate.
		GetCertificate: s.refusing.GetCertificate,
		MinVersion:     tls.VersionTLS12,
	}
	made.Conn = tls.Server(c, cfg)
	if err := made.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	return made, made.ConnectionState().NegotiatedProtocol, nil
}

// serverName is the name that a client asks for, as hosts are written; "" for none.
func serverName(hello *tls.ClientHelloInfo) string {
	return strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
}

// config returns what a client is answered with. Whoever asks a public listener for a name that is not public is
// refused here, before a session could be resumed.
func (s *Server) config(hello *tls.ClientHelloInfo, internal bool, to *conn) (*tls.Config, error) {
	name := serverName(hello)
	if _, err := cloud.ParseHost(name); name != "" && err != nil {
		return s.refusing, nil
	}
	if slices.Equal(hello.SupportedProtos, []string{alpnProtocol}) {
		return s.alpn(hello.Context(), name)
	}
	clients, known := s.Host(internal, name)
	cfg := s.internal
	if !internal {
		if cfg = s.public; !known {
			return s.refusing, nil
		}
	}
	if clients.Pool == nil {
		return cfg, nil
	}
	// A session that was begun for another host, or before, says nothing of the client.
	cfg = cfg.Clone()
	cfg.ClientAuth, cfg.ClientCAs, cfg.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, clients.Pool, true
	to.clients = clients.ID
	return cfg, nil
}

// internalCertificate returns the certificate for a client of an internal listener; nil where there is none.
func (s *Server) internalCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := serverName(hello)
	if name != "" {
		if c := s.Files.Certificate(name); c != nil {
			return c, nil
		}
		if !s.Local.Covers(name) {
			return s.Public.Certificate(hello.Context(), name), nil
		}
	}
	c, err := s.Local.Certificate(hello.Context(), name)
	if err != nil {
		s.Log.Warn("no certificate", "name", name, "err", err)
	}
	return c, err
}

// publicCertificate returns the certificate of a public host; nil where it has none yet.
func (s *Server) publicCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := serverName(hello)
	if c := s.Files.Certificate(name); c != nil {
		return c, nil
	}
	return s.Public.Certificate(hello.Context(), name), nil
}

// alpnProtocol is what an authority asks for by ALPN (RFC 8737).
const alpnProtocol = "acme-tls/1"

// alpn answers an authority's question by TLS-ALPN-01.
func (s *Server) alpn(ctx context.Context, name string) (*tls.Config, error) {
	c, err := s.Public.alpnCertificate(ctx, name)
	if err != nil {
		s.Log.Warn("a challenge cannot be answered", "host", name, "err", err)
	}
	if c == nil {
		return s.refusing, nil
	}
	return &tls.Config{Certificates: []tls.Certificate{*c}, NextProtos: []string{alpnProtocol}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}, nil
}

// retryAfter is the pause after the authority could not be made or opened.
const retryAfter = 10 * time.Second

// Run makes the cloud's authority, where it has none, and the keys of session tickets anew from time to time.
func (s *Server) Run(ctx context.Context) error {
	var followers sync.WaitGroup
	defer followers.Wait()
	followers.Go(func() { s.Public.Run(ctx) })
	followers.Go(func() { s.Files.Run(ctx) })
	for opened := false; ; {
		wait := ticketEpoch / 12
		if !opened {
			if _, err := s.Local.Authority(ctx); err != nil && ctx.Err() == nil {
				s.Log.Warn("internal names have no certificates yet", "err", err)
				wait = retryAfter
			} else {
				opened = true
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		if err := s.rotate(); err != nil {
			return err
		}
	}
}

// rotate puts the keys of session tickets of now in force.
func (s *Server) rotate() error {
	for _, side := range []struct {
		cfg      *tls.Config
		internal bool
	}{{s.internal, true}, {s.public, false}} {
		keys, err := ticketKeys(s.Secret, side.internal, s.Now())
		if err != nil {
			return err
		}
		side.cfg.SetSessionTicketKeys(keys)
	}
	return nil
}
