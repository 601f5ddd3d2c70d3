package dnsd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// Sighting is what the world sees of a public domain: what its resolvers answer.
type Sighting struct {
	// Proof is the answer to a name that only this cloud's DNS server can know.
	Proof Seen
	// Challenge is what is at the domain's challenge name: of the type NS, or CNAME with Via.
	Challenge Seen
	// Server are the addresses of the domain's DNS server.
	Server Seen
}

// Seen is what resolvers answer to one question.
type Seen struct {
	Values []string // in lower case without a dot at the end; sorted
	// Err is why there is no answer: SERVFAIL, or no resolver answers.
	Err error
	// Remembered is how long resolvers may go on to answer that there is nothing.
	Remembered time.Duration
}

// sightingTime is how long one question of a Sighting may take.
const sightingTime = 6 * time.Second

// See asks the upstreams how the world sees a public domain. It uses no cache of ours; theirs may have old answers.
func (f *Forwarder) See(ctx context.Context, d *cloud.PublicDomain, from Challenges) (s Sighting) {
	nonce := make([]byte, 8)
	rand.Read(nonce) // it never fails
	ask := func(name cloud.Host, types ...uint16) Seen { return f.see(ctx, string(name), types...) }
	zone := d
	if d.Via != "" {
		s.Challenge = ask(d.ChallengeName(), dns.TypeCNAME)
		zone = &cloud.PublicDomain{Name: d.Via}
	} else {
		s.Challenge = ask(d.ChallengeName(), dns.TypeNS)
		s.Server = ask(d.Server, dns.TypeA, dns.TypeAAAA)
	}
	probe := probePrefix + hex.EncodeToString(nonce) + "." + string(zone.ChallengeName())
	s.Proof = f.see(ctx, probe, dns.TypeTXT)
	if s.Proof.Err == nil && !slices.Contains(s.Proof.Values, from.Proof(probe)) {
		s.Proof.Values = nil
	}
	return s
}

// see asks the upstreams for a name, each until one answers.
func (f *Forwarder) see(ctx context.Context, name string, types ...uint16) (s Seen) {
	ctx, cancel := context.WithTimeout(ctx, sightingTime)
	defer cancel()
	for _, qtype := range types {
		m, err := f.askAny(ctx, question{name: dns.Fqdn(name), qtype: qtype, class: dns.ClassINET})
		if err != nil {
			s.Err = err
			continue
		}
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == qtype {
				s.Values = append(s.Values, valueOf(rr))
			}
		}
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok && isNegative(m) { // RFC 2308, section 5
				s.Remembered = max(s.Remembered, seconds(min(soa.Hdr.Ttl, soa.Minttl)))
			}
		}
	}
	if len(s.Values) > 0 {
		s.Err = nil
	}
	slices.Sort(s.Values)
	return s
}

// askAny asks the upstreams in their order until one answers.
func (f *Forwarder) askAny(ctx context.Context, q question) (m *dns.Msg, err error) {
	ups, _ := f.upstreams.order(*f.own.Load())
	err = errors.New("no resolver is known: dns-upstream")
	for _, up := range ups {
		if m, err = f.ask(ctx, up, q); err == nil {
			return m, nil
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer")
	}
	return nil, err
}

// valueOf is what a record says, as text.
func valueOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.NS:
		return plainName(rr.Ns)
	case *dns.CNAME:
		return plainName(rr.Target)
	case *dns.TXT:
		return strings.Join(rr.Txt, "")
	case *dns.A:
		return rr.A.String()
	case *dns.AAAA:
		return rr.AAAA.String()
	}
	return ""
}

func plainName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// RecordState is a record that is to be set for a public domain, and what of it the world sees.
type RecordState struct {
	cloud.DNSRecord
	OK bool
	// Unsure says that a record which is not OK may be there.
	Unsure bool
	Text   string // what is seen, in words
	Hint   string
}

// RecordStates says of each record of a domain whether the world sees it, and whether the world's questions reach this
// cloud. listening says that a server for the world is configured here, and addrs are its addresses, as far as they are
// known. It is a pure function.
func RecordStates(d *cloud.PublicDomain, s Sighting, addrs []netip.Addr, listening bool) (states []RecordState, reached bool) {
	reached = s.Proof.Err == nil && len(s.Proof.Values) > 0
	for _, r := range d.Records(addrs) {
		state := RecordState{DNSRecord: r}
		switch seen := s.Challenge; {
		case reached && d.Via == "":
			state.OK, state.Text = true, "it leads here"
			if r.Value == "" {
				state.Value = strings.Join(s.Server.Values, " ")
			}
		case r.Name == d.Server:
			state.judgeAddress(s.Server)
		case seen.Err == nil && slices.Contains(seen.Values, r.Value):
			state.OK, state.Text = true, "it is there"
		case seen.Err == nil && len(seen.Values) == 0:
			state.Text, state.Hint = "it is missing"+remembered(seen), "set it at the DNS provider of "+string(d.Name)
		case seen.Err == nil:
			state.Text, state.Hint = "it is "+strings.Join(seen.Values, ", ")+" instead", "change it at the DNS provider of "+string(d.Name)
		case d.Via != "":
			state.Text = "it cannot be looked up: " + seen.Err.Error()
		default:
			// A resolver asks the server behind a delegation for its NS records.
			state.Unsure = true
			state.Text = "it is perhaps there, and the DNS server behind it does not answer: " + seen.Err.Error()
		}
		states = append(states, state)
	}
	if reached || d.Via != "" {
		return states, reached
	}
	last := &states[len(states)-1]
	switch {
	case !states[0].OK && s.Challenge.Err == nil, !last.OK:
	case !listening:
		last.OK, last.Text, last.Hint = false, "no DNS server for the world runs on this node", "micro up --public-dns ADDRESS"
	case s.Proof.Err != nil:
		last.OK, last.Text = false, "the DNS server at this address does not answer the world's resolvers: "+s.Proof.Err.Error()
		last.Hint = "port 53 of the address must reach this node by UDP and TCP: firewall, port forwarding, --public-dns"
	default:
		last.OK, last.Text, last.Hint = false, "another DNS server answers at this address", "the address is to be this cloud's"
	}
	return states, reached
}

// judgeAddress says whether the DNS server's name leads to an address.
func (r *RecordState) judgeAddress(seen Seen) {
	switch {
	case r.Value == "" && len(seen.Values) > 0:
		r.OK, r.Value, r.Text = true, strings.Join(seen.Values, " "), "it is there"
	case slices.Contains(seen.Values, r.Value):
		r.OK, r.Text = true, "it is there"
	case seen.Err != nil:
		r.Text = "it cannot be looked up: " + seen.Err.Error()
	case len(seen.Values) == 0:
		r.Text, r.Hint = "it is missing"+remembered(seen), "set it at the DNS provider of "+string(r.Name)
	default:
		r.Text, r.Hint = "it is "+strings.Join(seen.Values, ", ")+" instead", "the address at which the world reaches this node's port 53"
	}
}

// remembered says how long resolvers may remember that a record is missing.
func remembered(s Seen) string {
	if s.Remembered < time.Second {
		return ""
	}
	return "; resolvers may remember that for " + s.Remembered.Round(time.Second).String()
}
