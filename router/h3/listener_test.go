package h3

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// muted is a socket that sends nothing while it is muted, as that of a program which was killed.
type muted struct {
	*net.UDPConn
	on atomic.Bool
}

func (m *muted) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if m.on.Load() {
		return len(b), len(oob), nil
	}
	return m.UDPConn.WriteMsgUDP(b, oob, to)
}

// TestKilled: a client of a listener that was killed learns from the next one, with the same secret, that its connection
// is gone.
func TestKilled(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	socket := &muted{UDPConn: conn}
	listen := func() *Listener {
		l, err := Listen(socket, ListenerConfig{
			TLS:    &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{Protocol}},
			Secret: []byte("secret"), Handshake: 10 * time.Second, Idle: time.Minute,
			Begin: func(ctx context.Context, _ net.Addr) (context.Context, error) { return ctx, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := listen()
	client, err := quic.DialAddr(t.Context(), conn.LocalAddr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{Protocol}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	socket.on.Store(true)
	first.End()
	socket.on.Store(false)
	second := listen()
	defer second.End()
	stream, err := client.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	// A packet must be long enough for an answer that nobody can tell from another packet.
	if _, err := stream.Write(make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-client.Context().Done():
	case <-time.After(time.Minute):
		t.Fatal("the client was not told")
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](context.Cause(client.Context())); !ok {
		t.Errorf("it ended: %v", context.Cause(client.Context()))
	}
}
