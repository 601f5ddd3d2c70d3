package certs

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Local *Local
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
	s.internal, s.public = s.base(), s.base()
	s.internal.GetCertificate = s.internalCertificate
	s.public.GetConfigForClient = s.publicConfig
	s.refusing = s.base()
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

// Handshake is a router.Listener's. internal says that the connection may ask for internal names.
func (s *Server) Handshake(ctx context.Context, c net.Conn, internal bool) (net.Conn, string, error) {
	cfg := s.public
	if internal {
		cfg = s.internal
	}
	t := tls.Server(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	return t, t.ConnectionState().NegotiatedProtocol, nil
}

// serverName is the name that a client asks for, as hosts are written; "" for none.
func serverName(hello *tls.ClientHelloInfo) string {
	return strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
}

// internalCertificate returns the certificate for a client of an internal listener; nil where there is none.
func (s *Server) internalCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := serverName(hello)
	if _, err := cloud.ParseHost(name); name != "" && (err != nil || !s.Local.Covers(name)) {
		return nil, nil
	}
	c, err := s.Local.Certificate(hello.Context(), name)
	if err != nil {
		s.Log.Warn("no certificate", "name", name, "err", err)
	}
	return c, err
}

// publicConfig returns what a client of a public listener is answered with. A name that is not public is refused
// before a session could be resumed.
func (s *Server) publicConfig(*tls.ClientHelloInfo) (*tls.Config, error) { return s.refusing, nil }

// retryAfter is the pause after the authority could not be made or opened.
const retryAfter = 10 * time.Second

// Run makes the cloud's authority, where it has none, and the keys of session tickets anew from time to time.
func (s *Server) Run(ctx context.Context) error {
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
