package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// bindAPI binds the addresses of the remote API. Its certificates are those of the cloud's own authority, which
// clients know by its fingerprint.
func (n *Node) bindAPI(ctx context.Context) error {
	counts := newConnCounts(maxRemoteConns, maxRemoteClient)
	for _, a := range n.cfg.API {
		var listen net.ListenConfig
		l, err := listen.Listen(ctx, "tcp", a.String())
		if errors.Is(err, syscall.EADDRINUSE) {
			return cloud.Errorf(cloud.Conflict, "api address %s is taken", a.AddrPort).WithHint("choose another one with --api")
		}
		if err != nil {
			return cloud.Errorf(cloud.Invalid, "cannot listen on api address %s: %w", a.AddrPort, err)
		}
		l = &limited{l, counts}
		scheme := "http://"
		if !a.Plain {
			scheme = "https://"
			if n.fingerprint == "" {
				authority, err := n.local.Authority(ctx)
				if err != nil {
					l.Close()
					return err
				}
				n.fingerprint = api.Fingerprint(authority.Certificate)
			}
			l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: n.apiCertificate})
		}
		n.remote = append(n.remote, l)
		n.remoteURLs = append(n.remoteURLs, scheme+l.Addr().String())
		n.onRelease(func() { l.Close() })
	}
	return nil
}

// apiCertificate is the certificate of the API's own name, with that of the authority, which clients are to
// recognise.
func (n *Node) apiCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf, err := n.local.Certificate(hello.Context(), string(n.cfg.Domain.API()))
	if err != nil {
		return nil, err
	}
	authority, err := n.local.Authority(hello.Context())
	if err != nil {
		return nil, err
	}
	chain := *leaf
	chain.Certificate = [][]byte{leaf.Certificate[0], authority.Certificate}
	return &chain, nil
}
