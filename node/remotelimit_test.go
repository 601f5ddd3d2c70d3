package node

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestLimited checks that connections beyond a limit are closed at once, and that places are given back.
func TestLimited(t *testing.T) {
	for name, counts := range map[string]*connCounts{"in all": newConnCounts(2, 9), "beyond the limit of a client": newConnCounts(2, 1)} {
		raw, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		accepted := make(chan net.Conn, 10)
		go func() {
			for l := (&limited{raw, counts}); ; {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
		dial := func() net.Conn {
			c, err := net.Dial("tcp", raw.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		dial()
		first := <-accepted
		dial()
		<-accepted
		refused := dial()
		_ = refused.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := refused.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: a third connection: %v", name, err)
		}
		first.Close()
		first.Close() // counted once
		dial()
		select {
		case <-accepted:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: no place was given back", name)
		}
		if counts.total != 2 {
			t.Errorf("%s: %d connections are counted", name, counts.total)
		}
	}
	counts, one, other := newConnCounts(3, 2), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if !counts.add(one) || !counts.add(one) || counts.add(one) || !counts.add(other) || counts.add(other) {
		t.Error("a client's limit, or that in all, does not hold")
	}
	counts.remove(one)
	if !counts.add(other) {
		t.Error("a place was not given back")
	}
	a, b := &net.TCPAddr{IP: net.ParseIP("2001:db8::1")}, &net.TCPAddr{IP: net.ParseIP("2001:db8::ffff:0:1")}
	if clientOf(addressed{a}) != clientOf(addressed{b}) || clientOf(addressed{a}) != netip.MustParseAddr("2001:db8::") {
		t.Error("a network of IPv6 counts as several clients")
	}
	if clientOf(addressed{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1")}}) != netip.MustParseAddr("192.0.2.1") {
		t.Error("a mapped address is another client")
	}
}

type addressed struct{ addr net.Addr }

func (a addressed) RemoteAddr() net.Addr           { return a.addr }
func (addressed) LocalAddr() net.Addr              { return nil }
func (addressed) Read([]byte) (int, error)         { return 0, io.EOF }
func (addressed) Write([]byte) (int, error)        { return 0, io.EOF }
func (addressed) Close() error                     { return nil }
func (addressed) SetDeadline(time.Time) error      { return nil }
func (addressed) SetReadDeadline(time.Time) error  { return nil }
func (addressed) SetWriteDeadline(time.Time) error { return nil }
