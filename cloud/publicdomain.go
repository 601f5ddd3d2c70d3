package cloud

import (
	"iter"
	"net/netip"
	"strings"
	"time"
)

// PublicDomain is a domain of the group's whose owner lets this cloud's DNS server answer the questions by which a
// certificate authority finds out who the domain belongs to (DNS-01). So its certificates, wildcards too, need neither
// a reachable web server nor a key of a DNS provider.
type PublicDomain struct {
	Name  Host      `json:"name"`
	Group GroupName `json:"group"`
	// Server is the host name at which the world finds this cloud's DNS server; "" with Via.
	Server Host `json:"server,omitempty"`
	// Via is the public domain below whose challenge name the questions are answered: a CNAME leads there. "" where
	// the domain's own challenge name is delegated to Server.
	Via     Host      `json:"via,omitempty"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
}

// Key is "domains/NAME".
func (d *PublicDomain) Key() Key { return publicDomainKey(d.Name) }

func publicDomainKey(h Host) Key { return Key("domains/" + string(h)) }

// touch: a domain is a zone of the DNS server's, and changes once in a blue moon.
func (d *PublicDomain) touch(t *touched)  { t.all = true }
func (d *PublicDomain) indexes() []string { return nil }

// ChallengeName is the name that an authority asks for (RFC 8555, section 8.4).
func (d *PublicDomain) ChallengeName() Host { return "_acme-challenge." + d.Name }

// AnswerName is the name that this cloud's DNS server answers for.
func (d *PublicDomain) AnswerName() Host {
	if d.Via == "" {
		return d.ChallengeName()
	}
	return d.Name + "._acme-challenge." + d.Via
}

// Wildcard is the host that stands for all names of one label in the domain.
func (d *PublicDomain) Wildcard() Host { return "*." + d.Name }

// DNSRecord is a record to set at a DNS provider.
type DNSRecord struct {
	Name  Host
	Type  string // "A", "AAAA", "NS" or "CNAME"
	Value string // "" where it is not known: the address at which the world reaches the node
}

// Records returns the records to set for the domain, where the world reaches the DNS server at these addresses.
func (d *PublicDomain) Records(addrs []netip.Addr) []DNSRecord {
	if d.Via != "" {
		return []DNSRecord{{d.ChallengeName(), "CNAME", string(d.AnswerName())}}
	}
	records := []DNSRecord{{d.ChallengeName(), "NS", string(d.Server)}}
	for _, a := range addrs {
		r := DNSRecord{d.Server, "A", a.String()}
		if a.Is6() {
			r.Type = "AAAA"
		}
		records = append(records, r)
	}
	if len(addrs) == 0 {
		records = append(records, DNSRecord{d.Server, "A", ""})
	}
	return records
}

// PublicDomain returns a public domain.
func (s *State) PublicDomain(h Host) (*PublicDomain, bool) {
	return get[*PublicDomain](s, publicDomainKey(h))
}

// PublicDomains yields all public domains by name.
func (s *State) PublicDomains() iter.Seq[*PublicDomain] { return all[*PublicDomain](s, "domains/") }

// MustPublicDomain returns a group's public domain, or an error that a person can use.
func (s *State) MustPublicDomain(g GroupName, h Host) (*PublicDomain, error) {
	d, ok := s.PublicDomain(h)
	if !ok || d.Group != g {
		return nil, Errorf(NotFound, "no domain %q in group %s", h, g).WithCommand("micro domain list")
	}
	return d, nil
}

// DomainOf returns the public domain by which a host can be proved to an authority: the host itself, or what follows
// its "*.".
func (s *State) DomainOf(h Host) (*PublicDomain, bool) {
	return s.PublicDomain(Host(strings.TrimPrefix(string(h), "*.")))
}

// AddDomain returns the changes that make a domain public, or lead it elsewhere.
func (s *State) AddDomain(d PublicDomain, at Stamp) ([]Change, error) {
	if _, err := s.MustGroup(d.Group); err != nil {
		return nil, err
	}
	if strings.HasPrefix(string(d.Name), "*") {
		return nil, Errorf(Invalid, "%s is a wildcard: name the domain, which includes it", d.Name).WithCommand("micro domain add %s", strings.TrimPrefix(string(d.Name), "*."))
	}
	if err := s.Orderable(d.Name); err != nil {
		return nil, err
	}
	was, ok := s.PublicDomain(d.Name)
	if ok && was.Group != d.Group {
		return nil, Errorf(Conflict, "domain %s belongs to another group", d.Name)
	}
	switch {
	case d.Via != "" && d.Server != "":
		return nil, Errorf(Invalid, "a domain has a DNS server of its own, or answers by that of another domain").WithHint("give --server or --via")
	case d.Via != "":
		via, err := s.MustPublicDomain(d.Group, d.Via)
		if err != nil {
			return nil, err
		}
		if via.Via != "" || via.Name == d.Name {
			return nil, Errorf(Invalid, "%s has no delegation of its own", via.Name).WithCommand("micro domain list")
		}
	case d.Server == "":
		d.Server = "micro-dns." + d.Name
	}
	for _, name := range []Host{d.AnswerName(), d.ChallengeName(), d.Server} {
		if _, err := ParseHost(string(name)); name != "" && err != nil {
			return nil, err
		}
	}
	if d.Via != "" && ok {
		if other, used := s.answersVia(d.Name); used {
			return nil, Errorf(Conflict, "%s answers by %s", other, d.Name).WithCommand("micro domain remove %s", other)
		}
	}
	d.Created, d.By = at.At, at.By
	if ok {
		d.Created, d.By = was.Created, was.By
		if d == *was {
			return nil, nil
		}
	}
	return []Change{Put(&d)}, nil
}

// answersVia returns a domain whose questions are answered below another's challenge name.
func (s *State) answersVia(h Host) (Host, bool) {
	for d := range s.PublicDomains() {
		if d.Via == h {
			return d.Name, true
		}
	}
	return "", false
}

// RemoveDomain returns the changes that end a public domain. A certificate in hand serves to its end; the next one of a
// wildcard is not to be had, so that a mapped wildcard keeps the domain, unless force.
func (s *State) RemoveDomain(g GroupName, h Host, force bool) ([]Change, error) {
	d, err := s.MustPublicDomain(g, h)
	if err != nil {
		return nil, err
	}
	if other, used := s.answersVia(h); used {
		return nil, Errorf(Conflict, "%s answers by %s", other, h).WithCommand("micro domain remove %s", other)
	}
	if v, ok := s.VirtualHost(d.Wildcard()); ok && v.WantsCertificate() && !force {
		return nil, Errorf(Conflict, "the certificate of %s, which is mapped, needs the domain", v.Host).WithCommand("micro domain remove %s --yes", h)
	}
	return []Change{Delete(d)}, nil
}
