package dnsd

import (
	"bytes"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// Challenges has the answers to the questions by which certificate authorities find out whose a domain is (DNS-01,
// RFC 8555, section 8.4).
type Challenges interface {
	// Texts returns what the questions about a public domain are answered with now.
	Texts(domain cloud.Host) []string
	// Proof returns the text by which this cloud, and no other, answers for a name that somebody has made up. So
	// the cloud can see whether the world's questions reach it.
	Proof(name string) string
}

const (
	challengeLabel = "\x0f_acme-challenge"
	// probePrefix begins the label of a name that is answered with a Proof.
	probePrefix = "micro-check-"

	challengeTTL = 1   // seconds; each question of an authority has another answer
	serverTTL    = 300 // seconds; of the NS record
)

// challengeZone is the zone of a public domain's challenge name, to which the domain's owner has delegated it.
type challengeZone struct {
	authority
	// domains are the public domains that are answered for, by the wire name below the origin, which has no root.
	domains map[string]cloud.Host
	parents map[string]bool // names above those of domains: empty non-terminals
}

// compileChallenges returns the challenge zones of a state, by their origins.
func compileChallenges(s *cloud.State) map[string]*challengeZone {
	zones := map[string]*challengeZone{}
	var via []*cloud.PublicDomain
	for d := range s.PublicDomains() {
		if d.Via != "" {
			via = append(via, d)
			continue
		}
		origin, err := wireName(string(d.ChallengeName()))
		ns, nsErr := wireName(string(d.Server))
		mail, mailErr := wireName("hostmaster." + string(d.Name))
		if err != nil || nsErr != nil || mailErr != nil {
			continue // the state has checked the names
		}
		a := newAuthority(origin, ns, mail, uint32(d.Created.Unix()), challengeTTL)
		zones[string(origin)] = &challengeZone{authority: a, domains: map[string]cloud.Host{"": d.Name}, parents: map[string]bool{}}
	}
	for _, d := range via {
		origin, err := wireName(string((&cloud.PublicDomain{Name: d.Via}).ChallengeName()))
		name, nameErr := wireName(string(d.Name))
		z := zones[string(origin)]
		if err != nil || nameErr != nil || z == nil {
			continue
		}
		name = name[:len(name)-1]
		z.domains[string(name)] = d.Name
		for i := int(name[0]) + 1; i < len(name); i += int(name[i]) + 1 {
			z.parents[string(name[i:])] = true
		}
	}
	return zones
}

// challengeZone returns the zone that a name is in, and the part of the name below its origin; nil if it is in none.
func (z *Zone) challengeZone(name []byte) (*challengeZone, []byte) {
	if len(z.challenges) == 0 {
		return nil, nil
	}
	for i := 0; name[i] != 0; i += int(name[i]) + 1 {
		if bytes.HasPrefix(name[i:], []byte(challengeLabel)) {
			if c := z.challenges[string(name[i:])]; c != nil {
				return c, name[:i]
			}
		}
	}
	return nil, nil
}

// answerChallenge answers for names in challenge zones, and returns false for other names.
func (z *Zone) answerChallenge(m *message, from Challenges) bool {
	c, below := z.challengeZone(m.q.Name())
	if c == nil {
		return false
	}
	domain, ours := c.domains[string(below)]
	probe := isProbe(below)
	found := absent
	switch {
	case ours, probe:
		found = present
	case c.parents[string(below)]:
		found = emptyNonTerminal
	}
	if !m.answerCommon(&c.authority, len(below) == 0, found) {
		return true
	}
	switch {
	case m.q.Type == dns.TypeNS && len(below) == 0:
		m.countAnswer(m.appendRecord(questionName, dns.TypeNS, serverTTL, c.ns))
	case m.q.Type != dns.TypeTXT || from == nil:
	case ours:
		for _, text := range from.Texts(domain) {
			m.countAnswer(m.appendText(text))
		}
	case probe:
		m.countAnswer(m.appendText(from.Proof(wireText(m.q.Name()))))
	}
	m.addSOAIfEmpty(&c.authority)
	return true
}

// isProbe reports whether the part of a name below a challenge zone is one label that asks for a Proof.
func isProbe(below []byte) bool {
	return len(below) > 1+len(probePrefix) && int(below[0])+1 == len(below) && string(below[1:1+len(probePrefix)]) == probePrefix
}

// appendText appends a TXT record of one string. Beyond 255 bytes a string has no room.
func (m *message) appendText(text string) bool {
	text = text[:min(len(text), 255)]
	return m.appendRecord(questionName, dns.TypeTXT, challengeTTL, []byte{byte(len(text))}, []byte(text))
}
