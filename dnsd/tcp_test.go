package dnsd

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestPipeline sends several queries at once on one connection. One is forwarded to a slow upstream: the
// others must not wait for it (RFC 7766, section 6.2.1.1).
func TestPipeline(t *testing.T) {
	hold := make(chan struct{})
	s := startForwarding(t, nil, newResolver(t, func(w dns.ResponseWriter, m *dns.Msg) {
		<-hold
		zoneFile("www.example. 60 IN A 192.0.2.1")(w, m)
	}))
	c, err := dns.DialTimeout("tcp", s.Addrs()[0].String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for id, name := range []string{"www.example.", "shop.micro.test.", "nope.micro.test."} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		m.Id = uint16(id)
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []uint16{1, 2, 0} {
		r, err := c.ReadMsg()
		if err != nil || r.Id != want {
			t.Fatalf("got %v %v, want the answer to query %d", r, err, want)
		}
		if want == 2 {
			close(hold)
		}
	}
}

// TestBrokenStreams checks that connections without valid DNS are closed, and that unusual queries are answered.
func TestBrokenStreams(t *testing.T) {
	s := startServer(t, nil)
	f := func(what, sent string, answer bool) {
		t.Helper()
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(c)
		if (len(got) > 0) != answer {
			t.Errorf("%s: answer %q", what, got)
		}
	}
	f("nothing", "", false)
	f("half a length", "\x00", false)
	f("no message", "\x00\x00", false)
	f("less than promised", "\x00\x20\x12\x34", false)
	f("no header", "\x00\x02\x12\x34", false)
	f("no question", "\x00\x0c\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", true)
	f("HTTP", "GET / HTTP/1.0\r\n\r\n", false)
}

// TestManyConnections opens more connections than one client may have.
func TestManyConnections(t *testing.T) {
	s := startServer(t, nil)
	refused := 0
	for range tcpPerClient + 5 {
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		co := &dns.Conn{Conn: c}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_ = co.WriteMsg(new(dns.Msg).SetQuestion("shop.micro.test.", dns.TypeA))
		if _, err := co.ReadMsg(); err != nil {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("%d connections refused, want 5", refused)
	}
	if r, _, err := clientFrom("tcp", "127.0.0.4").Exchange(new(dns.Msg).SetQuestion("shop.micro.test.", dns.TypeA), s.Addrs()[0].String()); err != nil || len(r.Answer) != 1 {
		t.Errorf("another client: %v %v", r, err)
	}
}
