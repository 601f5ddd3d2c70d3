package certs

import (
	"crypto/tls"
)

// QUIC returns the TLS of a router's listener for HTTP/3. It asks internal whether a client may ask for internal names,
// and tells verified the ID of the Clients that the handshake goes by; "" for none.
func (s *Server) QUIC(internal func(*tls.ClientHelloInfo) bool, verified func(hello *tls.ClientHelloInfo, id string)) *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			to := &conn{}
			cfg, err := s.config(hello, internal(hello), to)
			if err != nil {
				return nil, err
			}
			verified(hello, to.clients)
			cfg = cfg.Clone()
			cfg.NextProtos = []string{protocolHTTP3}
			return cfg, nil
		},
		// There must be something in it that could have a certificate.
		GetCertificate: s.refusing.GetCertificate,
		NextProtos:     []string{protocolHTTP3},
		MinVersion:     tls.VersionTLS13,
	}
}

// protocolHTTP3 is the name of HTTP/3 in ALPN.
const protocolHTTP3 = "h3"
