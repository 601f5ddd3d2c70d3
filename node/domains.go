package node

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/router/certs"
)

// openPublicDNS binds the DNS server for the world, where there is to be one. own are the addresses of the other one.
func (n *Node) openPublicDNS(zone *dnsd.Zone, own []netip.AddrPort) error {
	free := func(a netip.AddrPort) bool {
		_, err := dnsd.PickAddr(a)
		return n.sockets.Has(a) || err == nil && !slices.Contains(own, a)
	}
	listen, err := addresses.PublicDNS(n.cfg.PublicDNS, addresses.MachineAddrs(), free)
	if err != nil || len(listen) == 0 {
		return err
	}
	n.publicDNS, err = dnsd.New(dnsd.Config{
		Public: true, Listen: listen, Zone: zone, Challenges: challenges{n}, Recorder: &n.queries, Log: n.log, Sockets: n.sockets,
	})
	return err
}

// publicAddrs are the addresses of the DNS server for the world.
func (n *Node) publicAddrs() []netip.AddrPort {
	if n.publicDNS == nil {
		return nil
	}
	return n.publicDNS.Addrs()
}

// challenges answer the questions of authorities by DNS.
type challenges struct{ n *Node }

func (c challenges) Texts(domain cloud.Host) []string { return c.n.public.Texts(domain) }

// Proof is the same on all nodes: it follows from the cloud's secret.
func (c challenges) Proof(name string) string {
	sum := hmac.New(sha256.New, c.n.secret)
	sum.Write([]byte("micro proof of DNS " + name))
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// delegations tell the API how the world's questions about public domains reach this cloud.
type delegations struct{ n *Node }

// Addresses returns those of the DNS server for the world. A private address is not the one that the world knows.
func (d delegations) Addresses() (addrs []netip.Addr) {
	for _, a := range d.n.publicAddrs() {
		if ip := a.Addr(); ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedAddresses.Contains(ip) {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// sharedAddresses are those between a provider and its customers (RFC 6598).
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// Proves says whether an authority is told by DNS whose a host is, and which record keeps it from asking this cloud.
func (d delegations) Proves(ctx context.Context, h cloud.Host) (bool, *cloud.OrderFailure) {
	s := d.n.store.State()
	domain, ok := s.DomainOf(h)
	if !ok {
		return false, nil
	}
	check := d.see(ctx, s, domain)
	if check.OK {
		return true, nil
	}
	missing := &cloud.OrderFailure{
		Step: cloud.StepChallenge, Unasked: true, Hint: "micro domain check " + string(domain.Name),
		Reason: "the world's questions about " + string(domain.Name) + " do not reach this cloud",
	}
	if r, ok := check.Missing(); ok {
		missing.Reason = string(r.Name) + " " + r.Type + ": " + r.Text
	}
	return true, missing
}

// CheckAll checks all public domains of the cloud, at the same time.
func (d delegations) CheckAll(ctx context.Context) []api.DomainCheck {
	s := d.n.store.State()
	domains := slices.Collect(s.PublicDomains())
	checks := make([]api.DomainCheck, len(domains))
	var running sync.WaitGroup
	places := make(chan struct{}, checksAtATime)
	for i, domain := range domains {
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			checks[i] = d.Check(ctx, s, domain)
		})
	}
	running.Wait()
	return checks
}

// checksAtATime is how many public domains are checked at the same time.
const checksAtATime = 8

// Check looks up what the world sees of a public domain, and what its CAA records let the authority do.
func (d delegations) Check(ctx context.Context, s *cloud.State, domain *cloud.PublicDomain) api.DomainCheck {
	caa := make(chan []api.DomainRecord, 1)
	go func() { caa <- d.CAA(ctx, domain) }()
	out := d.see(ctx, s, domain)
	out.CAA = <-caa
	return out
}

// see looks up whether the world's questions about a public domain reach this cloud.
func (d delegations) see(ctx context.Context, s *cloud.State, domain *cloud.PublicDomain) api.DomainCheck {
	out := api.DomainCheck{Name: domain.Name, Records: []api.DomainRecord{}}
	for {
		seen := d.n.forward.See(ctx, domain, challenges{d.n})
		states, reached := dnsd.RecordStates(domain, seen, d.Addresses(), d.n.publicDNS != nil)
		out.OK = reached
		complete := true
		for _, r := range states {
			complete = complete && r.OK
			shown := api.DomainRecord{Name: r.Name, Type: r.Type, Value: r.Value, Status: api.OK, Text: r.Text, Hint: r.Hint}
			switch {
			case r.Unsure:
				shown.Status = api.Warn
			case !r.OK:
				shown.Status = api.Fail
			}
			out.Records = append(out.Records, shown)
		}
		if domain.Via == "" {
			return out
		}
		via, ok := s.PublicDomain(domain.Via)
		if out.OK = complete; !ok || !complete {
			return out
		}
		domain = via
	}
}

// caaTime is how long the look at a domain's CAA records may take.
const caaTime = 5 * time.Second

// CAA returns what the CAA records of a public domain let the authority do: for its hosts, and for its wildcards where
// these are treated otherwise. It returns none where no certificates are ordered.
func (d delegations) CAA(ctx context.Context, domain *cloud.PublicDomain) []api.DomainRecord {
	rows := []api.DomainRecord{}
	if d.n.acme == nil {
		return rows
	}
	ctx, cancel := context.WithTimeout(ctx, caaTime)
	defer cancel()
	for _, of := range []struct {
		host cloud.Host
		what string
	}{{domain.Name, ""}, {"*." + domain.Name, "for wildcards: "}} {
		p, err := d.n.acme.Permission(ctx, of.host)
		row := caaRow(domain.Name, p, err)
		if len(rows) > 0 && row == rows[0] {
			break
		}
		row.Text = of.what + row.Text
		rows = append(rows, row)
	}
	return rows
}

// caaRow says in words what CAA records let the authority do.
func caaRow(domain cloud.Host, p certs.Permission, err error) api.DomainRecord {
	row := api.DomainRecord{Name: cmp.Or(p.At, domain), Type: "CAA", Status: api.OK}
	if p.Issuer != "" {
		row.Value = "0 issue \"" + p.Issuer + "\""
	}
	switch {
	case err != nil:
		row.Status, row.Text = api.Warn, err.Error()
	case p.Refusal != nil:
		row.Status, row.Text, row.Hint = api.Fail, p.Refusal.Reason, p.Refusal.Hint
	case p.At == "":
		row.Text = "there is none, so any authority may issue certificates"
	default:
		row.Text = p.Issuer + " may issue certificates"
	}
	return row
}
