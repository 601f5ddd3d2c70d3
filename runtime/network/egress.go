package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The way out has a table of its own, which is there only while it is closed for some group or app. It lets through or
// drops what the other table lets through:
//
//	chain forward
//	  ct state established,related                  accept
//	  oifname m*                                    accept   the other table decides about containers
//	  ip daddr @inside                              accept   and about those of other nodes
//	  iifname . ip daddr @resolved                  accept   an address of a name that the container has looked up
//	  iifname @p0  ip daddr NETWORK                 accept   of policy 0, for each network that it allows
//	  iifname @p0                                   reject
//	  …                                                      the same for each policy

// Policy is what containers may reach outside.
type Policy struct {
	Networks []netip.Prefix
	Names    []string // "api.example.com"; "*.example.com" for every name below example.com
}

// Allows reports whether a policy allows a name, in lower case and without a dot at its end.
func (p Policy) Allows(name string) bool {
	return slices.ContainsFunc(p.Names, func(allowed string) bool {
		if len(allowed) > 2 && allowed[:2] == "*." {
			suffix := allowed[1:]
			return len(name) > len(suffix) && name[0] != '.' && name[len(name)-len(suffix):] == suffix
		}
		return name == allowed
	})
}

// egress is the way out. Network.mu guards it.
type egress struct {
	policies map[string]Policy // by app, "GROUP/APP", or by group, "GROUP/"
	rules    int               // that the table has; 0: there is no table
	// resolved are the addresses that containers have been told, by link.
	resolved map[string]map[netip.Addr]told
	drops    bool // the kernel cannot reject
	// any says that there are policies: where there are none, DNS queries need not wait for the lock.
	any atomic.Bool
}

// told is an address that a container has been told.
type told struct {
	name  string    // whose address it is; "" where an earlier process knew
	until time.Time // when the container may reach it no longer
}

const (
	// resolvedFor is how much longer than its answer lives an address may be reached: programs keep addresses.
	resolvedFor = 10 * time.Minute
	// maxResolved is how many addresses a container may have been told.
	maxResolved = 4096
)

func (n *Network) egressTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: egressPrefix + n.hash()}
}

// policyKey returns the key of the policy that an endpoint goes by, "" where its way out is open. n.mu must be held.
func (n *Network) policyKey(ep *endpoint) string {
	if ep.App == "" || len(n.egress.policies) == 0 {
		return ""
	}
	group := ep.App
	for i := range group {
		if group[i] == '/' {
			group = group[:i+1]
			break
		}
	}
	for _, key := range []string{ep.App, group} {
		if _, ok := n.egress.policies[key]; ok {
			return key
		}
	}
	return ""
}

// Label says which app a reserved endpoint is of, "GROUP/APP". It goes by that app's policy from before its first
// process runs.
func (n *Network) Label(id, app string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ep := n.endpoints[id]; ep != nil {
		ep.App = app
	}
}

// SetEgress replaces all policies. Connections that go on and are no longer allowed end.
func (n *Network) SetEgress(policies map[string]Policy) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	same := func(a, b Policy) bool { return slices.Equal(a.Networks, b.Networks) && slices.Equal(a.Names, b.Names) }
	if maps.EqualFunc(n.egress.policies, policies, same) {
		return nil
	}
	n.egress.policies = policies
	n.forgetResolved()
	n.egress.any.Store(len(policies) > 0)
	if n.rules == nil {
		return nil // Sync builds all tables
	}
	if err := n.rebuildEgress(); err != nil {
		return err
	}
	return n.cut()
}

// forgetResolved forgets the addresses of names that policies no longer allow. n.mu must be held.
func (n *Network) forgetResolved() {
	for _, ep := range n.endpoints {
		p, closed := n.egress.policies[n.policyKey(ep)]
		maps.DeleteFunc(n.egress.resolved[ep.link], func(_ netip.Addr, t told) bool { return closed && !p.Allows(t.name) })
	}
}

// Egress returns the policy that the container with an address goes by; closed is false where its way out is open.
func (n *Network) Egress(ip netip.Addr) (p Policy, closed bool) {
	if !n.egress.any.Load() {
		return p, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ep := n.at(ip); ep != nil {
		p, closed = n.egress.policies[n.policyKey(ep)]
	}
	return p, closed
}

func (n *Network) at(ip netip.Addr) *endpoint {
	for _, ep := range n.endpoints {
		if ep.IP == ip {
			return ep
		}
	}
	return nil
}

// Resolved lets a container reach addresses that a name which its policy allows has, for as long as the answer lives.
func (n *Network) Resolved(ip netip.Addr, name string, addrs []netip.Addr, life time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ep := n.at(ip)
	if ep == nil || n.egress.rules == 0 {
		return nil
	}
	now := time.Now()
	known := n.egress.resolved[ep.link]
	if known == nil {
		known = map[netip.Addr]told{}
		if n.egress.resolved == nil {
			n.egress.resolved = map[string]map[netip.Addr]told{}
		}
		n.egress.resolved[ep.link] = known
	}
	maps.DeleteFunc(known, func(_ netip.Addr, t told) bool { return now.After(t.until) })
	var old, fresh []nftables.SetElement
	for _, a := range addrs {
		was, ok := known[a]
		if !a.Is4() || ok && was.name == name && was.until.Sub(now) > life+resolvedFor/2 || !ok && len(known) >= maxResolved {
			continue
		}
		key := concat(ifname(ep.link), a.AsSlice())
		if ok {
			old = append(old, nftables.SetElement{Key: key}) // the kernel does not extend the time of an element
		}
		fresh = append(fresh, nftables.SetElement{Key: key, Timeout: life + resolvedFor})
		known[a] = told{name, now.Add(life + resolvedFor)}
	}
	if len(fresh) == 0 {
		return nil
	}
	c, _, err := n.nft()
	if err != nil {
		return err
	}
	set := resolvedSet(n.egressTable())
	if len(old) > 0 {
		err = changeElements(c.SetDeleteElements, set, old)
	}
	if err == nil {
		err = changeElements(c.SetAddElements, set, fresh)
	}
	if err != nil {
		return err
	}
	if c.Flush() == nil {
		return nil
	}
	return n.rebuildEgress()
}

func resolvedSet(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: "resolved", Concatenation: true, HasTimeout: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr),
	}
}

// members returns the links of each policy, by its key. n.mu must be held.
func (n *Network) members() map[string][]nftables.SetElement {
	members := map[string][]nftables.SetElement{}
	for _, ep := range n.endpoints {
		if key := n.policyKey(ep); key != "" && ep.ruled {
			members[key] = append(members[key], nftables.SetElement{Key: ifname(ep.link)})
		}
	}
	return members
}

// close applies the policy of an endpoint that is about to be connected. n.mu must be held.
func (n *Network) close(ep *endpoint) error {
	if n.policyKey(ep) == "" {
		return nil
	}
	was := ep.ruled
	ep.ruled = true
	err := n.rebuildEgress()
	ep.ruled = was
	return err
}

// rebuildEgress makes the table as it should be, in one transaction. n.mu must be held.
func (n *Network) rebuildEgress() error {
	err := n.buildEgress()
	if err != nil && !n.egress.drops {
		n.egress.drops = true // a kernel without the module that rejects
		err = n.buildEgress()
	}
	return err
}

func (n *Network) buildEgress() error {
	c, _, err := n.nft()
	if err != nil {
		return err
	}
	t := n.egressTable()
	c.AddTable(t) // deleting a missing table is an error
	c.DelTable(t)
	n.egress.rules = 0
	if len(n.egress.policies) > 0 {
		c.AddTable(t)
		if err := n.fillEgress(c, t); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		n.egress.rules = 0
		return fmt.Errorf("network: table %s: %w", t.Name, err)
	}
	return nil
}

func (n *Network) fillEgress(c *nftables.Conn, t *nftables.Table) error {
	r := &ruleset{c: c, table: t, rules: map[string]int{}}
	inside := &nftables.Set{Table: t, Name: "inside", KeyType: nftables.TypeIPAddr, Interval: true}
	if err := addSet(c, inside, sliceElements(n.peers)); err != nil {
		return err
	}
	resolved := resolvedSet(t)
	if err := addSet(c, resolved, n.resolvedElements()); err != nil {
		return err
	}
	forward := r.chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	r.rule(forward, established(), accept())
	r.rule(forward, toInterface(n.prefix), accept())
	r.rule(forward, destinationIn(inside), accept())
	r.rule(forward, family(unix.NFPROTO_IPV4), match{iifname(), destination(2), lookup(resolved, false)}, accept())
	members := n.members()
	for i, key := range slices.Sorted(maps.Keys(n.egress.policies)) {
		set := policySet(t, i)
		if err := addSet(c, set, members[key]); err != nil {
			return err
		}
		from := match{iifname(), lookup(set, false)}
		for _, network := range n.egress.policies[key].Networks {
			r.rule(forward, from, daddr(network.Bits(), network.Addr().AsSlice()), accept())
		}
		end := match{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
		if n.egress.drops {
			end = drop()
		}
		r.rule(forward, from, end)
	}
	n.egress.rules = r.rules[forward.Name]
	return nil
}

func policySet(t *nftables.Table, i int) *nftables.Set {
	return &nftables.Set{Table: t, Name: fmt.Sprintf("p%d", i), KeyType: nftables.TypeIFName}
}

// resolvedElements are the addresses that containers which run were told, and may reach still.
func (n *Network) resolvedElements() (list []nftables.SetElement) {
	now := time.Now()
	links := map[string]bool{}
	for _, ep := range n.endpoints {
		links[ep.link] = true
	}
	for link, addrs := range n.egress.resolved {
		if !links[link] {
			delete(n.egress.resolved, link)
			continue
		}
		for a, t := range addrs {
			if left := t.until.Sub(now); left > time.Second {
				list = append(list, nftables.SetElement{Key: concat(ifname(link), a.AsSlice()), Timeout: left.Truncate(time.Millisecond)})
			}
		}
	}
	return list
}

// readResolved takes over what an earlier process has let containers reach: they may keep the addresses. n.mu must be
// held.
func (n *Network) readResolved() {
	c, _, err := n.nft()
	if err != nil {
		return
	}
	elements, err := c.GetSetElements(resolvedSet(n.egressTable()))
	if err != nil {
		return // there is no table
	}
	now := time.Now()
	for _, el := range elements {
		if len(el.Key) < unix.IFNAMSIZ+4 {
			continue
		}
		link := unix.ByteSliceToString(el.Key[:unix.IFNAMSIZ])
		a := netip.AddrFrom4([4]byte(el.Key[unix.IFNAMSIZ : unix.IFNAMSIZ+4]))
		if n.egress.resolved == nil {
			n.egress.resolved = map[string]map[netip.Addr]told{}
		}
		if n.egress.resolved[link] == nil {
			n.egress.resolved[link] = map[netip.Addr]told{}
		}
		n.egress.resolved[link][a] = told{until: now.Add(resolvedFor)}
	}
}

// egressIntact reports whether the table is as rebuildEgress would make it. n.mu must be held.
func (n *Network) egressIntact() bool {
	if len(n.egress.policies) == 0 {
		return true
	}
	c, _, err := n.nft()
	if err != nil {
		return false
	}
	t := n.egressTable()
	rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: "forward"})
	if err != nil || len(rules) != n.egress.rules {
		return false
	}
	members := n.members()
	for i, key := range slices.Sorted(maps.Keys(n.egress.policies)) {
		el, err := c.GetSetElements(policySet(t, i))
		if err != nil || len(el) != len(members[key]) {
			return false
		}
	}
	return true
}

// cut forgets the connections that policies no longer allow, so that their next packet is judged anew. n.mu must be
// held.
func (n *Network) cut() error {
	if len(n.egress.policies) == 0 {
		return nil
	}
	f := &forbidden{allowed: map[netip.Addr]func(netip.Addr) bool{}}
	for _, ep := range n.endpoints {
		if key := n.policyKey(ep); key != "" {
			p, resolved := n.egress.policies[key], n.egress.resolved[ep.link]
			f.allowed[ep.IP] = func(to netip.Addr) bool {
				_, known := resolved[to]
				return known || n.subnet.Contains(to) || slices.ContainsFunc(p.Networks, func(network netip.Prefix) bool { return network.Contains(to) }) ||
					slices.ContainsFunc(n.peers, func(peer Peer) bool { return peer.Subnet.Contains(to) })
			}
		}
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, f); err != nil {
		return fmt.Errorf("network: end connections that are no longer allowed: %w", err)
	}
	return nil
}

// forbidden matches tracked connections that no policy allows.
type forbidden struct {
	allowed map[netip.Addr]func(netip.Addr) bool
}

func (f *forbidden) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	from, ok := netip.AddrFromSlice(flow.Forward.SrcIP)
	to, ok2 := netip.AddrFromSlice(flow.Forward.DstIP)
	if !ok || !ok2 {
		return false
	}
	allows, closed := f.allowed[from.Unmap()]
	return closed && !allows(to.Unmap())
}
