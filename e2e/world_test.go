package e2e

import (
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// world is the DNS of the world, as a resolver sees it: every host is at 127.0.0.1, and what a script has set. It
// follows delegations and aliases. DNS servers of the world have the port $PUBLICDNS instead of 53.
type world struct {
	port string // of the world's DNS servers

	mu      sync.Mutex
	records map[string][]dns.RR // by name
}

// worlds are those that run, by the port of their DNS servers, which is the script's own.
var worlds = struct {
	sync.Mutex
	byPort map[string]*world
}{byPort: map[string]*world{}}

// world start runs the script's world and sets $WORLD. world add NAME TYPE VALUE sets a record, world remove NAME TYPE
// removes those of a type.
func worldCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage := "usage: world start, world add NAME TYPE VALUE, world remove NAME TYPE"
	if neg || len(args) == 0 {
		ts.Fatalf("%s", usage)
	}
	w := startWorld(ts)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case args[0] == "start":
	case args[0] == "add" && len(args) == 4:
		rr, err := dns.NewRR(dns.Fqdn(args[1]) + " 1 IN " + args[2] + " " + args[3])
		ts.Check(err)
		w.records[rr.Header().Name] = append(w.records[rr.Header().Name], rr)
	case args[0] == "remove" && len(args) == 3:
		var kept []dns.RR
		for _, rr := range w.records[dns.Fqdn(args[1])] {
			if dns.TypeToString[rr.Header().Rrtype] != args[2] {
				kept = append(kept, rr)
			}
		}
		w.records[dns.Fqdn(args[1])] = kept
	default:
		ts.Fatalf("%s", usage)
	}
}

// startWorld returns the script's world, which it starts where it does not run yet.
func startWorld(ts *testscript.TestScript) *world {
	port := ts.Getenv("PUBLICDNS")
	worlds.Lock()
	defer worlds.Unlock()
	if w := worlds.byPort[port]; w != nil {
		return w
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:"+ts.Getenv("WORLDDNS"))
	ts.Check(err)
	listener, err := net.Listen("tcp4", conn.LocalAddr().String())
	ts.Check(err)
	w := &world{port: port, records: map[string][]dns.RR{}}
	handler := dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) { _ = out.WriteMsg(w.resolve(q)) }) // the client asks again
	udp, tcp := &dns.Server{PacketConn: conn, Handler: handler}, &dns.Server{Listener: listener, Handler: handler}
	go func() { _ = udp.ActivateAndServe() }()
	go func() { _ = tcp.ActivateAndServe() }()
	worlds.byPort[port] = w
	ts.Defer(func() {
		_, _ = udp.Shutdown(), tcp.Shutdown()
		worlds.Lock()
		defer worlds.Unlock()
		delete(worlds.byPort, port)
	})
	ts.Setenv("WORLD", conn.LocalAddr().String())
	return w
}

// resolve answers as a resolver does.
func (w *world) resolve(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	question := q.Question[0]
	name := strings.ToLower(question.Name)
	for range 5 { // aliases
		if server := w.delegated(name); server != "" {
			w.ask(m, server, name, question.Qtype)
			return m
		}
		own := w.of(name)
		if exists := !strings.HasPrefix(name, "_") && !strings.HasPrefix(name, "micro-"); len(own) == 0 && (!exists || question.Qtype != dns.TypeA) {
			if !exists {
				m.Rcode = dns.RcodeNameError
			}
			soa, err := dns.NewRR("example.com. 300 IN SOA ns.example.com. hostmaster.example.com. 1 1 1 1 300")
			if err != nil {
				panic(err)
			}
			m.Ns = []dns.RR{soa}
			return m
		}
		alias := ""
		for _, rr := range own {
			if rr.Header().Rrtype == question.Qtype {
				m.Answer = append(m.Answer, rr)
			} else if cname, ok := rr.(*dns.CNAME); ok {
				m.Answer, alias = append(m.Answer, rr), strings.ToLower(cname.Target)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if question.Qtype == dns.TypeA && len(m.Answer) == 0 {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)}}
	}
	return m
}

func (w *world) of(name string) []dns.RR {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]dns.RR(nil), w.records[name]...)
}

// delegated returns the DNS server that a name was delegated to; "" for none.
func (w *world) delegated(name string) string {
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		for _, rr := range w.of(name[at:]) {
			if ns, ok := rr.(*dns.NS); ok {
				return strings.ToLower(ns.Ns)
			}
		}
	}
	return ""
}

// ask has the DNS server of a delegation answer.
func (w *world) ask(m *dns.Msg, server, name string, qtype uint16) {
	m.Rcode = dns.RcodeServerFailure
	for _, rr := range w.of(server) {
		a, ok := rr.(*dns.A)
		if !ok {
			continue
		}
		ask := new(dns.Msg)
		ask.SetQuestion(name, qtype)
		ask.RecursionDesired = false
		if answer, _, err := new(dns.Client).Exchange(ask, net.JoinHostPort(a.A.String(), w.port)); err == nil && answer.Rcode != dns.RcodeRefused {
			m.Rcode, m.Answer, m.Ns = answer.Rcode, append(m.Answer, answer.Answer...), answer.Ns
			return
		}
	}
}
