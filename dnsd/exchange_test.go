package dnsd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// without returns a handler that answers queries without an OPT record by answer, and all others by other.
func without(other func(dns.ResponseWriter, *dns.Msg), answer func(dns.ResponseWriter, *dns.Msg)) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) {
		if m.IsEdns0() != nil {
			other(w, m)
		} else {
			answer(w, m)
		}
	}
}

func answerRcode(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(m, rcode)) }
}

// raw answers with a header of flags, followed by counts and rest.
func raw(flags uint16, counts, rest string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) {
		_, _ = w.Write([]byte(string([]byte{byte(m.Id >> 8), byte(m.Id), byte(flags >> 8), byte(flags)}) + counts + rest))
	}
}

// TestWithoutEDNS asks upstreams that reject queries with an OPT record in different ways.
func TestWithoutEDNS(t *testing.T) {
	good := zoneFile("name.example. 0 IN A 192.0.2.10", "other.example. 0 IN A 192.0.2.11")
	badVersion := func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		r.SetEdns0(512, false)
		r.Rcode = dns.RcodeBadVers // with the OPT record's bits
		_ = w.WriteMsg(r)
	}
	const none = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, tt := range []struct {
		name   string
		reject func(dns.ResponseWriter, *dns.Msg)
		silent bool
	}{
		{"FORMERR", answerRcode(dns.RcodeFormatError), false},
		{"NOTIMP", answerRcode(dns.RcodeNotImplemented), false},
		{"SERVFAIL", answerRcode(dns.RcodeServerFailure), false},
		{"BADVERS", badVersion, false},
		{"FORMERR without a question", raw(0x8181, none, ""), false},
		{"NOTIMP without a question", raw(0x8184, none, ""), false},
		{"garbage", raw(0x8180, "\x00\x01\x00\x01\x00\x00\x00\x00", "\x3fxyz"), false},
		{"silence", silent, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			up := newResolver(t, without(tt.reject, good))
			s := startForwarding(t, nil, up)
			for i, question := range []string{"name.example. A", "other.example. A"} {
				before, start := up.queries.Load(), time.Now()
				if r := query(t, s, "udp", "127.0.0.1", question); len(r.Answer) != 1 || r.IsEdns0() == nil {
					t.Errorf("%s: %v", question, r)
				}
				if took := time.Since(start); took > 2*patience {
					t.Errorf("%s took %v", question, took)
				}
				if asked := up.queries.Load() - before; i == 1 && asked != 1 {
					t.Errorf("%s was asked %d times; that OPT records are rejected was known", question, asked)
				}
			}
		})
	}
	t.Run("FORMERR to everything", func(t *testing.T) {
		up := newResolver(t, answerRcode(dns.RcodeFormatError))
		if r := query(t, startForwarding(t, nil, up), "udp", "127.0.0.1", "name.example. A"); r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%v", r)
		}
		if n := up.queries.Load(); n != 2 {
			t.Errorf("asked %d times, want once with and once without", n)
		}
	})
	t.Run("long answers by TCP", func(t *testing.T) {
		long := []string{}
		for i := range 60 {
			long = append(long, fmt.Sprintf("long.example. 60 IN TXT %q", strings.Repeat("x", 40)+fmt.Sprint(i)))
		}
		up := newResolver(t, without(answerRcode(dns.RcodeFormatError), zoneFile(long...)))
		if r := query(t, startForwarding(t, nil, up), "tcp", "127.0.0.1", "long.example. TXT"); len(r.Answer) != 60 {
			t.Errorf("%d records, %v", len(r.Answer), r.MsgHdr)
		}
	})
}

// TestUpstreamWithoutTCP asks an upstream that truncates answers and refuses TCP: clients get the partial answer.
func TestUpstreamWithoutTCP(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: p, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		for i := range 3 {
			rr, _ := dns.NewRR(fmt.Sprintf("many.example. 60 IN A 192.0.2.%d", i))
			r.Answer = append(r.Answer, rr)
		}
		r.Truncated = true
		_ = w.WriteMsg(r)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = srv.Shutdown()
		<-done
	})
	s := startForwarding(t, func(c *ForwardConfig) { c.Upstreams = append(c.Upstreams, p.LocalAddr().(*net.UDPAddr).AddrPort()) })
	for range 2 { // the partial answer must not be cached
		if r := query(t, s, "udp", "127.0.0.1", "many.example. A"); len(r.Answer) != 3 || !r.Truncated {
			t.Errorf("%v", r)
		}
	}
}

// TestForgedAnswers sends forged answers before the right one: they must be ignored.
func TestForgedAnswers(t *testing.T) {
	evil := zoneFile("name.example. 60 IN A 192.0.2.66")
	up := newResolver(t, func(w dns.ResponseWriter, m *dns.Msg) {
		id, name := m.Id, m.Question[0].Name
		m.Id = id + 1
		evil(w, m)
		m.Id, m.Question[0].Name = id, "evil.example."
		evil(w, m)
		_, _ = w.Write([]byte{byte(id >> 8), byte(id)})
		m.Question[0].Name = name
		zoneFile("name.example. 60 IN A 192.0.2.1")(w, m)
	})
	r := query(t, startForwarding(t, nil, up), "udp", "127.0.0.1", "name.example. A")
	if got := text(r); got != "name.example. 60 IN A 192.0.2.1" {
		t.Error(got)
	}
}

// TestSilentUpstream checks that an upstream is down after one attempt without an answer.
func TestSilentUpstream(t *testing.T) {
	up := &upstream{addr: newResolver(t, silent).addr}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := up.ask(ctx, question{name: "a.example.", qtype: dns.TypeA, class: dns.ClassINET}); err == nil || up.isDown() {
		t.Errorf("after an attempt that was given up: %v, down %v", err, up.isDown())
	}
	if _, err := up.ask(t.Context(), question{name: "a.example.", qtype: dns.TypeA, class: dns.ClassINET}); err == nil || !up.isDown() {
		t.Errorf("after a whole attempt: %v, down %v", err, up.isDown())
	}
}
