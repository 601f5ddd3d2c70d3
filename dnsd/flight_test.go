package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// script says what each upstream answers, and after how long. It uses the clock of a synctest bubble.
type script struct {
	mu      sync.Mutex
	answers map[string]string // upstream: "DELAY ANSWER", an answer being a zone file's line, NXDOMAIN or SERVFAIL
	asked   []string
}

func (s *script) set(up, says string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[up] = says
}

// takeAsked returns the upstreams that were asked since the last call, sorted.
func (s *script) takeAsked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.asked)
	all := strings.Join(s.asked, " ")
	s.asked = nil
	return all
}

func (s *script) ask(ctx context.Context, u *upstream, q question) (*dns.Msg, error) {
	began := time.Now()
	name := u.addr.Addr().String()
	s.mu.Lock()
	s.asked = append(s.asked, name)
	delay, says, _ := strings.Cut(s.answers[name], " ")
	s.mu.Unlock()
	d, err := time.ParseDuration(delay)
	if err != nil {
		panic(err)
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(min(d, attemptTime)):
	}
	if d >= attemptTime {
		u.setSilent(began)
		return nil, context.DeadlineExceeded
	}
	u.setHeard()
	m := new(dns.Msg).SetReply(q.message(false))
	soa, _ := dns.NewRR("example. 60 IN SOA ns.example. root.example. 1 2 3 4 30")
	switch says {
	case "SERVFAIL":
		return nil, errors.New(says)
	case "NXDOMAIN":
		m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{soa}
	case "NODATA":
		m.Ns = []dns.RR{soa}
	default:
		rr, err := dns.NewRR(q.name + " " + says)
		if err != nil {
			panic(err)
		}
		m.Answer = []dns.RR{rr}
	}
	return m, nil
}

// newScripted returns a forwarder whose upstreams 192.0.2.1, 192.0.2.2 … answer as given.
func newScripted(t *testing.T, says ...string) (*Forwarder, *script) {
	t.Helper()
	s := &script{answers: map[string]string{}}
	cfg := ForwardConfig{}
	for i, say := range says {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		cfg.Upstreams = append(cfg.Upstreams, netip.AddrPortFrom(addr, 53))
		s.answers[addr.String()] = say
	}
	f, err := NewForwarder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.ask = s.ask
	t.Cleanup(f.close)
	return f, s
}

// resolve asks as a client does, and returns the answer and the time that it took as text.
func resolve(t *testing.T, f *Forwarder, name string) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(maxUDP, false)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q Query
	q.Parse(wire)
	start := time.Now()
	b, ok := f.answerFromCache(nil, &q)
	if !ok {
		w := f.startLookup(&q, netip.MustParseAddr("127.0.0.1"))
		if w == nil {
			return "busy"
		}
		b = w.answer()
	}
	r := new(dns.Msg)
	if err := r.Unpack(b); err != nil {
		t.Fatal(err)
	}
	got, _, _ := strings.Cut(text(r), "\n")
	got = strings.TrimPrefix(got, name+" ")
	for _, option := range r.IsEdns0().Option {
		got += fmt.Sprintf(" EDE %d", option.(*dns.EDNS0_EDE).InfoCode)
	}
	return got + " " + time.Since(start).String()
}

func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newScripted(t, "3s 60 IN A 192.0.2.10")
		check := func(name, want string) {
			t.Helper()
			if got := resolve(t, f, name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		check("slow.example.", "SERVFAIL EDE 22 2s")
		check("slow.example.", "60 IN A 192.0.2.10 1s") // answered by the lookup that still runs
		time.Sleep(10 * time.Second)
		check("slow.example.", "50 IN A 192.0.2.10 0s")
		check("other.example.", "SERVFAIL EDE 22 2s")
		time.Sleep(2 * time.Second)
		check("other.example.", "59 IN A 192.0.2.10 0s") // though nobody waited for it
	})
}

// TestOrder checks which answer counts if several upstreams are asked.
func TestOrder(t *testing.T) {
	const yes, no = "60 IN A 192.0.2.10", "60 IN A 192.0.2.20"
	for _, tt := range []struct{ first, second, want, later string }{
		{"10ms " + yes, "0s " + no, yes + " 10ms", yes},
		{"10ms NXDOMAIN", "0s " + no, "NXDOMAIN 10ms", "NXDOMAIN"},
		{"10ms NODATA", "0s " + no, "NOERROR 10ms", "NOERROR"},
		// A negative answer of the second upstream does not count while the first may still answer.
		{"1s " + yes, "0s NXDOMAIN", yes + " 1s", yes},
		{"1s " + yes, "0s NODATA", yes + " 1s", yes},
		{"3s " + yes, "0s NXDOMAIN", "SERVFAIL EDE 22 2s", yes},
		{"1s NXDOMAIN", "700ms NXDOMAIN", "NXDOMAIN 1s", "NXDOMAIN"},
		// A positive answer of the second counts until the first answers.
		{"1s " + yes, "0s " + no, no + " 500ms", yes},
		{"1s NXDOMAIN", "0s " + no, no + " 500ms", "NXDOMAIN"},
		{"1h", "0s " + no, no + " 500ms", no},
		// The first has failed.
		{"10ms SERVFAIL", "10ms NXDOMAIN", "NXDOMAIN 20ms", "NXDOMAIN"},
		{"10ms SERVFAIL", "10ms " + no, no + " 20ms", no},
		{"1s SERVFAIL", "0s NXDOMAIN", "NXDOMAIN 1s", "NXDOMAIN"},
		{"10ms SERVFAIL", "10ms SERVFAIL", "SERVFAIL EDE 22 20ms", "SERVFAIL EDE 22"},
		{"1h", "0s NXDOMAIN", "SERVFAIL EDE 22 2s", "NXDOMAIN"},
	} {
		t.Run(tt.first+", "+tt.second, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _ := newScripted(t, tt.first, tt.second)
				if got := resolve(t, f, "name.example."); got != tt.want {
					t.Errorf("answer %s, want %s", got, tt.want)
				}
				time.Sleep(6 * time.Second)
				got := resolve(t, f, "name.example.")
				if !strings.Contains(got, strings.TrimPrefix(tt.later, "60 ")) {
					t.Errorf("later %s, want %s", got, tt.later)
				}
			})
		})
	}
}

// TestDown lets the first upstream die: the second must be asked first until the first is back.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, second = "0 IN A 192.0.2.10", "0 IN A 192.0.2.20"
		n := 0
		f, s := newScripted(t, "1h", "1ms "+second)
		check := func(want, asked string) {
			t.Helper()
			n++
			if got := resolve(t, f, fmt.Sprintf("n%d.example.", n)); got != want {
				t.Errorf("answer %s, want %s", got, want)
			}
			synctest.Wait()
			if got := s.takeAsked(); got != asked {
				t.Errorf("asked %s, want %s", got, asked)
			}
		}
		check(second+" 501ms", "192.0.2.1 192.0.2.2")
		check(second+" 501ms", "192.0.2.1 192.0.2.2")
		time.Sleep(6 * time.Second)
		check(second+" 1ms", "192.0.2.2")
		s.set("192.0.2.2", "1ms NXDOMAIN")
		check("NXDOMAIN 1ms", "192.0.2.2") // don't wait for an upstream that is down
		s.set("192.0.2.2", "1ms "+second)
		s.set("192.0.2.1", "20ms "+first)
		time.Sleep(probeEvery)
		check(second+" 1ms", "192.0.2.1 192.0.2.2")
		time.Sleep(time.Second)
		check(first+" 20ms", "192.0.2.1")
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newScripted(t, "10ms SERVFAIL")
		check := func(want, asked string) {
			t.Helper()
			if got := resolve(t, f, "name.example."); got != want {
				t.Errorf("answer %s, want %s", got, want)
			}
			if got := s.takeAsked(); got != asked {
				t.Errorf("asked %q, want %q", got, asked)
			}
		}
		const up = "192.0.2.1"
		check("SERVFAIL EDE 22 10ms", up)
		check("SERVFAIL EDE 13 0s", "")
		time.Sleep(time.Second)
		check("SERVFAIL EDE 22 10ms", up)
		time.Sleep(time.Second)
		check("SERVFAIL EDE 13 0s", "") // the wait doubles each time
		time.Sleep(time.Second)
		check("SERVFAIL EDE 22 10ms", up)
		for range 10 {
			time.Sleep(failureMax)
			check("SERVFAIL EDE 22 10ms", up)
		}
		s.set(up, "10ms 60 IN A 192.0.2.10")
		time.Sleep(failureMax)
		check("60 IN A 192.0.2.10 10ms", up)
		check("60 IN A 192.0.2.10 0s", "")
		// A change of the upstreams clears the failures.
		s.set(up, "10ms SERVFAIL")
		time.Sleep(2 * time.Minute)
		f.cache.forgetFailures()
		check("30 IN A 192.0.2.10 EDE 3 10ms", up)
		check("30 IN A 192.0.2.10 EDE 3 0s", "")
		f.cache.forgetFailures()
		check("30 IN A 192.0.2.10 EDE 3 10ms", up)
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newScripted(t, "10ms 60 IN A 192.0.2.10")
		check := func(name, want string) {
			t.Helper()
			if got := resolve(t, f, name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		check("name.example.", "60 IN A 192.0.2.10 10ms")
		s.set("192.0.2.1", "10ms NXDOMAIN")
		check("none.example.", "NXDOMAIN 10ms")
		s.set("192.0.2.1", "1h")
		time.Sleep(time.Hour)
		check("name.example.", "30 IN A 192.0.2.10 EDE 3 1.8s")
		check("none.example.", "NXDOMAIN EDE 19 1.8s")
		time.Sleep(5 * time.Second)
		check("name.example.", "30 IN A 192.0.2.10 EDE 3 1.8s")
		time.Sleep(attemptTime)
		check("name.example.", "30 IN A 192.0.2.10 EDE 3 0s")
		// The upstream is slow, and has a new answer.
		s.set("192.0.2.1", "3s 60 IN A 192.0.2.20")
		time.Sleep(failureMax)
		check("name.example.", "30 IN A 192.0.2.10 EDE 3 1.8s")
		time.Sleep(2 * time.Second)
		check("name.example.", "60 IN A 192.0.2.20 0s")
		// The upstream answers that the name no longer exists.
		s.set("192.0.2.1", "10ms NXDOMAIN")
		time.Sleep(time.Minute)
		check("name.example.", "NXDOMAIN 10ms")
		// Stale answers expire too.
		s.set("192.0.2.1", "10ms SERVFAIL")
		time.Sleep(staleMax + time.Hour)
		check("name.example.", "SERVFAIL EDE 22 10ms")
	})
}

// TestLookupLimit lets one client reach its limit of lookups: another client can still start one.
func TestLookupLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newScripted(t, "1h")
		begin := func(client, name string) *pendingQuery {
			m := new(dns.Msg).SetQuestion(name, dns.TypeA)
			wire, _ := m.Pack()
			q := &Query{}
			q.Parse(wire)
			return f.startLookup(q, netip.MustParseAddr(client))
		}
		var waits sync.WaitGroup
		hold := func(client, name string, want bool) {
			t.Helper()
			w := begin(client, name)
			if (w != nil) != want {
				t.Fatalf("%s asks for %s: accepted %v, want %v", client, name, w != nil, want)
			}
			if w != nil {
				waits.Go(func() { w.answer() })
			}
		}
		for i := range lookupsEach {
			hold("10.0.0.1", fmt.Sprintf("n%d.example.", i), true)
		}
		hold("10.0.0.1", "more.example.", false)
		hold("10.0.0.2", "more.example.", true)
		hold("10.0.0.1", "more.example.", true) // it is under way already
		time.Sleep(2 * time.Second)
		waits.Wait()
		hold("10.0.0.1", "again.example.", false) // nobody waits any more, the lookups go on
		time.Sleep(attemptTime)
		hold("10.0.0.1", "again.example.", true)
		time.Sleep(attemptTime)
		waits.Wait()
		synctest.Wait()
		if f.waits.taken() != 0 || f.lookups.taken() != 0 {
			t.Errorf("left over: %d waits, %d lookups", f.waits.taken(), f.lookups.taken())
		}
	})
}
