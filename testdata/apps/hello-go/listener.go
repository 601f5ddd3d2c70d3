package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	integer "math/big"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// listen listens on a port: for connections that begin with a header of the PROXY protocol if PROXY_PROTOCOL is
// set.
func listen(port string) (net.Listener, error) {
	ln, err := net.Listen("tcp", ":"+port)
	if err == nil && os.Getenv("PROXY_PROTOCOL") != "" {
		ln = announced{ln}
	}
	return ln, err
}

// ownCertificate makes a certificate for a name that nobody but this process vouches for.
func ownCertificate(name string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: integer.NewInt(1), Subject: pkix.Name{CommonName: "made by hello"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

// announced is a listener whose connections begin with a header of the PROXY protocol, version 2.
type announced struct{ net.Listener }

func (l announced) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &announcedConn{Conn: c, in: bufio.NewReader(c)}, nil
}

type announcedConn struct {
	net.Conn
	in   *bufio.Reader
	once sync.Once
	from net.Addr
	err  error
}

// header reads the header once, when the server first wants to know something of the connection.
func (c *announcedConn) header() {
	c.once.Do(func() {
		if c.from, c.err = readHeader(c.in); c.err != nil {
			c.from = c.Conn.RemoteAddr()
		}
	})
}

func (c *announcedConn) RemoteAddr() net.Addr {
	c.header()
	return c.from
}

func (c *announcedConn) Read(b []byte) (int, error) {
	if c.header(); c.err != nil {
		return 0, c.err
	}
	return c.in.Read(b)
}

// readHeader reads a header for TCP over IPv4 (the protocol's section 2.2), and returns the client.
func readHeader(r io.Reader) (net.Addr, error) {
	var b [28]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	if string(b[:12]) != "\r\n\r\n\x00\r\nQUIT\n" || b[12] != 0x21 || b[13] != 0x11 || binary.BigEndian.Uint16(b[14:]) != 12 {
		return nil, errors.New("no header of the PROXY protocol")
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(b[24:]))), nil
}
