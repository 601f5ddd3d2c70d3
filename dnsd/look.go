package dnsd

import (
	"net/netip"

	"github.com/miekg/dns"
)

// Look is what the server would answer a client who asks for a name's addresses.
type Look struct {
	Class Class
	Ours  bool         // of one of our zones; else it is looked up elsewhere, and nothing below is known
	Rcode string       // "NOERROR", "NXDOMAIN", "REFUSED"
	Addrs []netip.Addr // none: the name has no address for this client
}

// Look asks the zone in force, in a client's stead. It sends nothing.
func (s *Server) Look(client netip.Addr, name string) Look {
	z, v := s.zone.Load(), s.view(client)
	l := Look{Class: v.Class}
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

// String is the class in a word.
func (c Class) String() string {
	switch c {
	case Loopback:
		return "this machine"
	case Container:
		return "a container"
	case Local:
		return "the local network"
	case Outside:
	}
	return "outside"
}
