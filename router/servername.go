package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// maxHello bounds what is read of a client's first message.
const maxHello = 16<<10 + 5

// readServerName reads a client's first message of TLS, and returns the name that it asks for (SNI), "" for none, and
// what was read. What is no such message is an error.
func readServerName(c net.Conn) (name string, read []byte, err error) {
	hello := &helloConn{from: c}
	found := false
	// The library parses the message; nothing is answered.
	server := tls.Server(hello, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, found = h.ServerName, true
		return nil, errHello
	}})
	err = server.HandshakeContext(context.Background())
	if found {
		err = nil
	}
	return name, hello.read.Bytes(), err
}

var errHello = errors.New("the message has been read")

// helloConn keeps what is read, and sends nothing.
type helloConn struct {
	from net.Conn
	read bytes.Buffer
}

func (c *helloConn) Read(b []byte) (int, error) {
	left := maxHello - c.read.Len()
	if left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.from.Read(b[:min(len(b), left)])
	c.read.Write(b[:n])
	return n, err
}

func (c *helloConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c *helloConn) Close() error                     { return nil }
func (c *helloConn) LocalAddr() net.Addr              { return c.from.LocalAddr() }
func (c *helloConn) RemoteAddr() net.Addr             { return c.from.RemoteAddr() }
func (c *helloConn) SetDeadline(time.Time) error      { return nil }
func (c *helloConn) SetReadDeadline(time.Time) error  { return nil }
func (c *helloConn) SetWriteDeadline(time.Time) error { return nil }
