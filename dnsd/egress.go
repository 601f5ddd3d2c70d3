package dnsd

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Egress says which names outside a container may look up, and is told what was found: the firewall lets the container
// reach that and nothing else.
type Egress interface {
	// Closed reports whether the container with an address may look up only what MayLookUp allows.
	Closed(client netip.Addr) bool
	// MayLookUp reports whether the container may look up a name, in lower case and without a dot at its end.
	MayLookUp(client netip.Addr, name string) bool
	// Resolved is told the addresses of a name before the container gets it, and how long the answer lives.
	Resolved(client netip.Addr, name string, addrs []netip.Addr, life time.Duration)
}

// mayLookUp reports whether a client may look up a name outside. A look-up is a way out too: names can carry data.
func (s *Server) mayLookUp(q *Query, v View, client netip.Addr) bool {
	if s.cfg.Egress == nil || v.Class != Container || !s.cfg.Egress.Closed(client.Unmap()) {
		return true
	}
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	return err == nil && s.cfg.Egress.MayLookUp(client.Unmap(), strings.TrimSuffix(strings.ToLower(name), "."))
}

// prohibited answers that the client may not look up the name.
func prohibited(b []byte, q *Query) []byte {
	m := newMessage(b, q)
	m.flags |= flagRA
	m.rcode, m.info = dns.RcodeRefused, int(dns.ExtendedErrorCodeProhibited)
	return m.finish()
}

// letThrough returns an answer from outside, once its client may reach what is in it.
func (s *Server) letThrough(answer []byte, client netip.Addr) []byte {
	client = client.Unmap()
	if s.cfg.Egress == nil || !s.cfg.Egress.Closed(client) {
		return answer
	}
	var m dns.Msg
	if m.Unpack(answer) != nil || len(m.Question) != 1 {
		return answer
	}
	var addrs []netip.Addr
	life := uint32(0)
	for _, rr := range m.Answer {
		a, ok := rr.(*dns.A)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
			addrs, life = append(addrs, addr), max(life, a.Hdr.Ttl)
		}
	}
	if len(addrs) > 0 {
		s.cfg.Egress.Resolved(client, strings.TrimSuffix(strings.ToLower(m.Question[0].Name), "."), addrs, time.Duration(min(life, 86400))*time.Second)
	}
	return answer
}
