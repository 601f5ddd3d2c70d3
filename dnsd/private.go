package dnsd

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// privateNetworks are ranges whose addresses no public name should have.
var privateNetworks = parsePrefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	"::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10",
)

// privateTLDs are never delegated in the public DNS, so names below them can only come from the network's own
// resolver: "internal" by decision of ICANN, the others by RFC 6762, appendix G, and RFC 8375.
var privateTLDs = []string{"internal.", "intranet.", "private.", "corp.", "home.", "lan.", "home.arpa."}

func parsePrefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// privateFilter removes private addresses from upstream answers, see ForwardConfig.
type privateFilter struct {
	domains   []string
	networks  []netip.Prefix
	forbidden func() []netip.Prefix
	host      *hostNetworks
	log       *slog.Logger
	logged    time.Time // guarded by mu
	mu        sync.Mutex
}

func newPrivateFilter(cfg ForwardConfig) (*privateFilter, error) {
	p := &privateFilter{
		domains: slices.Clone(privateTLDs), networks: cfg.AllowNetworks, forbidden: cfg.Forbidden,
		host: &hostNetworks{list: cfg.HostNetworks}, log: cfg.Log,
	}
	for _, domain := range cfg.AllowDomains {
		if _, ok := dns.IsDomainName(domain); !ok {
			return nil, cloud.Errorf(cloud.Invalid, "dns: cannot allow private addresses in %q: invalid domain", domain)
		}
		p.domains = append(p.domains, dns.CanonicalName(domain))
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p, nil
}

// drop removes records with private addresses, and private address hints of service bindings (RFC 9460), from
// the answer for a name. It returns how many it removed.
func (p *privateFilter) drop(m *dns.Msg, name string) int {
	if p.allowsDomain(name) {
		return 0
	}
	dropped := 0
	var first netip.Addr
	drops := func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		if ok && p.allowsAddr(embeddedIPv4(addr)) {
			return false
		}
		if dropped++; dropped == 1 {
			first = addr.Unmap()
		}
		return true
	}
	for _, section := range []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra} {
		*section = slices.DeleteFunc(*section, func(rr dns.RR) bool {
			switch rr := rr.(type) {
			case *dns.A:
				return drops(rr.A)
			case *dns.AAAA:
				return drops(rr.AAAA)
			case *dns.SVCB:
				dropHints(rr, drops)
			case *dns.HTTPS:
				dropHints(&rr.SVCB, drops)
			}
			return false
		})
	}
	if dropped > 0 {
		p.report(name, first)
	}
	return dropped
}

// reportEvery limits how often queries by clients can cause a log line.
const reportEvery = 10 * time.Second

// report logs a removed address. Otherwise it would be hard to find out why a name has no address here.
func (p *privateFilter) report(name string, addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.logged) >= reportEvery {
		p.logged = now
		p.log.Warn("removed a private address from an upstream DNS answer; allow its network or domain with --dns-private", "name", name, "address", addr)
	}
}

// allowsDomain reports whether a name may have private addresses.
func (p *privateFilter) allowsDomain(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(p.domains, func(domain string) bool { return dns.IsSubDomain(domain, name) })
}

// allowsAddr reports whether any name may have the address.
func (p *privateFilter) allowsAddr(addr netip.Addr) bool {
	hasAddr := func(n netip.Prefix) bool { return n.Contains(addr) }
	switch {
	case p.forbidden != nil && slices.ContainsFunc(p.forbidden(), hasAddr):
		return false
	case !slices.ContainsFunc(privateNetworks, hasAddr), slices.ContainsFunc(p.networks, hasAddr):
		return true
	}
	return p.host.contains(addr)
}

// embeddedIPv4 returns the IPv4 address inside an IPv6 address that is mapped, of NAT64 (RFC 6052) or of 6to4
// (RFC 3056). It returns other addresses unchanged.
func embeddedIPv4(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("::/96").Contains(addr) && b[12] != 0:
		return netip.AddrFrom4([4]byte(b[12:]))
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return addr
}

func dropHints(rr *dns.SVCB, drops func(net.IP) bool) {
	rr.Value = slices.DeleteFunc(rr.Value, func(kv dns.SVCBKeyValue) bool {
		switch hint := kv.(type) {
		case *dns.SVCBIPv4Hint:
			return slices.ContainsFunc(hint.Hint, drops)
		case *dns.SVCBIPv6Hint:
			return slices.ContainsFunc(hint.Hint, drops)
		}
		return false
	})
}
