package dnsd

import (
	"net/netip"

	"github.com/miekg/dns"
)

// Inspection is what the server would answer to a client's A and AAAA queries for a name.
type Inspection struct {
	Class Class
	Ours  bool         // the name is in one of our zones; otherwise the fields below are not set
	Rcode string       // "NOERROR", "NXDOMAIN", "REFUSED"
	Addrs []netip.Addr // empty: the name has no address for this client
}

// Inspect answers from the current zone as if the client had asked. It sends no packet.
func (s *Server) Inspect(client netip.Addr, name string) Inspection {
	z, v := s.zone.Load(), s.view(client)
	l := Inspection{Class: v.Class}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
		wire, err := m.Pack()
		var q Query
		if err != nil || !q.Parse(wire) {
			l.Ours, l.Rcode = true, "FORMERR"
			return l
		}
		b, ours := z.Answer(nil, &q, v)
		var answer dns.Msg
		if !ours || answer.Unpack(b) != nil {
			return l
		}
		l.Ours, l.Rcode = true, RcodeLabel(answer.Rcode)
		for _, record := range answer.Answer {
			switch record := record.(type) {
			case *dns.A:
				if a, ok := netip.AddrFromSlice(record.A); ok {
					l.Addrs = append(l.Addrs, a.Unmap())
				}
			case *dns.AAAA:
				if a, ok := netip.AddrFromSlice(record.AAAA); ok {
					l.Addrs = append(l.Addrs, a)
				}
			}
		}
	}
	return l
}

// String describes the class in messages.
func (c Class) String() string {
	switch c {
	case Loopback:
		return "this machine"
	case Container:
		return "a container"
	case Local:
		return "the local network"
	case Outside, World:
	}
	return "outside"
}
