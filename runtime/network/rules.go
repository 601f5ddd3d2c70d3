package network

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// sandboxGroup is the mark of sandboxes, which may only open outgoing connections. It is larger than every group's
// mark, which is the group's number plus one.
const sandboxGroup = 1<<32 - 2

// The table, m* being this node's links:
//
//	chain pre (prerouting, raw)
//	  iifname m*  ip6                               drop   containers have no IPv6
//	  iifname m*  iifname . ip saddr != @pin        drop   a container's own address and no other
//	  iifname m*  accept
//	  iifname lo  accept
//	  ip daddr SUBNET  drop                                no packets from other networks to containers
//	  ip saddr SUBNET  drop                                or with a forged address of a container
//	chain forward
//	  ct state established,related                  accept
//	  iifname m*  ip daddr 169.254.0.0/16           drop   metadata services of cloud providers
//	  iifname m*  ip daddr 100.100.100.200, …       drop   the same at other addresses
//	  iifname m*  oifname . ip saddr @guest         accept containers that are bound to a service
//	  iifname m*  oifname @service  mark set iifname map @group
//	  iifname m*  oifname @service  oifname . mark @member  reject   others of the group are told so at once
//	  iifname m*  oifname @service                  drop
//	  iifname m* oifname m*  mark set iifname map @group
//	  iifname m*  oifname . mark @member            accept same group
//	  oifname m*                                    drop
//	chain input
//	  iifname != m*                                 accept
//	  ct state established,related                  accept
//	  ip daddr != GATEWAY                           drop
//	  icmp                                          accept
//	  udp 53, tcp 53                                accept
//	  iifname @sandbox                              drop
//	  tcp 80, tcp 443                               accept
//	  drop
//	chain post (postrouting, nat)
//	  ip saddr SUBNET oifname != m*                 masquerade
type ruleset struct {
	c     *nftables.Conn
	table *nftables.Table
	rules map[string]int // of each chain
}

// metadata are addresses of metadata services that are not link-local: Alibaba's, Azure's WireServer, Oracle's.
var metadata = [][4]byte{{100, 100, 100, 200}, {168, 63, 129, 16}, {192, 0, 0, 192}}

// sets are the table's sets, whose elements depend on the endpoints.
type sets struct {
	pin, group, member, sandbox, service, guest *nftables.Set
	elsewhereSets
}

// own returns the sets whose elements depend on the node's own endpoints.
func (s sets) own() []*nftables.Set {
	return []*nftables.Set{s.pin, s.group, s.member, s.sandbox, s.service, s.guest}
}

func (n *Network) nft() (*nftables.Conn, *nftables.Table, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, nil, fmt.Errorf("network: nftables: %w", err)
	}
	return c, &nftables.Table{Family: nftables.TableFamilyINet, Name: n.table}, nil
}

func newSets(t *nftables.Table) sets {
	return sets{
		pin:     &nftables.Set{Table: t, Name: "pin", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)},
		group:   &nftables.Set{Table: t, Name: "group", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeMark},
		member:  &nftables.Set{Table: t, Name: "member", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeMark)},
		sandbox: &nftables.Set{Table: t, Name: "sandbox", KeyType: nftables.TypeIFName},
		service: &nftables.Set{Table: t, Name: "service", KeyType: nftables.TypeIFName},
		guest:   &nftables.Set{Table: t, Name: "guest", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)},

		elsewhereSets: newElsewhereSets(t),
	}
}

// elements returns the elements of an endpoint for each set.
func (s sets) elements(ep *endpoint) map[*nftables.Set][]nftables.SetElement {
	name, ip := ifname(ep.link), ep.IP.AsSlice()
	if ep.Tenant == sandboxGroup {
		return map[*nftables.Set][]nftables.SetElement{
			s.pin:     {{Key: concat(name, ip)}},
			s.group:   {{Key: name, Val: binaryutil.NativeEndian.PutUint32(sandboxGroup)}},
			s.sandbox: {{Key: name}},
		}
	}
	mark := binaryutil.NativeEndian.PutUint32(ep.Tenant + 1)
	all := map[*nftables.Set][]nftables.SetElement{
		s.pin:    {{Key: concat(name, ip)}},
		s.group:  {{Key: name, Val: mark}},
		s.member: {{Key: concat(name, mark)}},
	}
	if ep.Service != "" {
		all[s.service] = []nftables.SetElement{{Key: name}}
	}
	return all
}

// guests returns the elements that let the guests of a service's endpoint in, as far as they are among others.
func (ep *endpoint) guests(others map[string]*endpoint) (el []nftables.SetElement) {
	for _, o := range others {
		if o != ep && o.ruled && ep.admits(o) {
			el = append(el, nftables.SetElement{Key: concat(ifname(ep.link), o.IP.AsSlice())})
		}
	}
	return el
}

// visits returns the elements that let an endpoint in at the services of others.
func (ep *endpoint) visits(others map[string]*endpoint) (el []nftables.SetElement) {
	for _, o := range others {
		if o != ep && o.ruled && o.admits(ep) {
			el = append(el, nftables.SetElement{Key: concat(ifname(o.link), ep.IP.AsSlice())})
		}
	}
	return el
}

// admits reports whether the endpoint is a service that another endpoint may reach.
func (ep *endpoint) admits(guest *endpoint) bool {
	return ep.Service != "" && ep.Tenant == guest.Tenant && slices.Contains(guest.Reaches, ep.Service)
}

// elementsOf returns the elements that come and go with an endpoint. n.mu must be held.
func (n *Network) elementsOf(s sets, ep *endpoint) map[*nftables.Set][]nftables.SetElement {
	all := s.elements(ep)
	if el := append(ep.guests(n.endpoints), ep.visits(n.endpoints)...); len(el) > 0 {
		all[s.guest] = el
	}
	if len(n.peers) > 0 {
		if el := ep.visitsElsewhere(n.remote); len(el) > 0 {
			all[s.visit] = el
		}
	}
	return all
}

// content returns all elements that the table must have. n.mu must be held.
func (n *Network) content(s sets) map[*nftables.Set][]nftables.SetElement {
	all := map[*nftables.Set][]nftables.SetElement{}
	for _, ep := range n.endpoints {
		if !ep.ruled {
			continue
		}
		for set, el := range s.elements(ep) {
			all[set] = append(all[set], el...)
		}
		all[s.guest] = append(all[s.guest], ep.guests(n.endpoints)...)
	}
	return all
}

// addElements allows an endpoint's traffic. If the table is missing or damaged, it is rebuilt. n.mu must be held.
func (n *Network) addElements(ep *endpoint) error {
	c, t, err := n.nft()
	if err != nil {
		return err
	}
	if err := n.close(ep); err != nil {
		return err
	}
	for set, el := range n.elementsOf(newSets(t), ep) {
		if err := c.SetAddElements(set, el); err != nil {
			return fmt.Errorf("network: %w", err)
		}
	}
	if c.Flush() == nil {
		return nil
	}
	ep.ruled = true
	return n.rebuild()
}

// removeElements removes the elements of an endpoint that is no longer in n.endpoints. n.mu must be held.
func (n *Network) removeElements(ep *endpoint) error {
	c, t, err := n.nft()
	if err != nil {
		return err
	}
	if n.policyKey(ep) != "" {
		if err := n.rebuildEgress(); err != nil {
			return err
		}
	}
	for set, el := range n.elementsOf(newSets(t), ep) {
		if err := c.SetDeleteElements(set, el); err != nil {
			return fmt.Errorf("network: %w", err)
		}
	}
	if c.Flush() == nil {
		return nil
	}
	return n.rebuild()
}

// rebuild creates or replaces the table in one transaction, so that it is never missing. n.mu must be held.
func (n *Network) rebuild() error {
	err := n.replaceTable()
	if err == nil || n.mute {
		return err
	}
	// A kernel without nft_reject drops what it cannot reject.
	n.mute = true
	if n.replaceTable() != nil {
		n.mute = false
		return err
	}
	n.log.Warn("the kernel cannot reject packets: apps that are not bound to a service wait for an answer", "err", err)
	return nil
}

func (n *Network) replaceTable() error {
	c, t, err := n.nft()
	if err != nil {
		return err
	}
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	s := newSets(t)
	filled := n.content(s)
	for _, set := range s.own() {
		if err := addSet(c, set, filled[set]); err != nil {
			return err
		}
	}
	if len(n.peers) > 0 {
		if err := n.addElsewhere(c, s.elsewhereSets); err != nil {
			return err
		}
	}
	r := &ruleset{c: c, table: t, rules: map[string]int{}}
	r.build(n, s)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("network: firewall table %s: %w", n.table, err)
	}
	n.rules = r.rules
	return nil
}

func (r *ruleset) build(n *Network, s sets) {
	gw, subnet, others := n.Gateway().AsSlice(), n.subnet, len(n.peers) > 0
	fromContainer, toContainer := fromInterface(n.prefix), toInterface(n.prefix)

	pre := r.chain("pre", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	r.rule(pre, fromInterface(n.prefix), family(unix.NFPROTO_IPV6), drop())
	r.rule(pre, fromInterface(n.prefix), match{iifname(), source(2), lookup(s.pin, true)}, drop())
	r.rule(pre, fromInterface(n.prefix), accept())
	r.rule(pre, fromInterface("lo\x00"), accept())
	if others {
		r.rule(pre, sourceIn(s.slice), wrongWay(), drop())
		r.rule(pre, sourceIn(s.worker), destinationIn(s.worker), accept())
		r.rule(pre, sourceIn(s.slice), daddr(subnet.Bits(), subnet.Addr().AsSlice()), accept())
		r.rule(pre, sourceIn(s.slice), drop())
	}
	r.rule(pre, daddr(subnet.Bits(), subnet.Addr().AsSlice()), drop())
	r.rule(pre, saddr(subnet.Bits(), subnet.Addr().AsSlice()), drop())

	forward := r.chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	r.rule(forward, established(), accept())
	r.rule(forward, fromInterface(n.prefix), daddr(16, []byte{169, 254, 0, 0}), drop())
	for _, addr := range metadata {
		r.rule(forward, fromInterface(n.prefix), daddr(32, addr[:]), drop())
	}
	r.rule(forward, fromContainer, match{oifname(), source(2), lookup(s.guest, false)}, accept())
	toService := match{oifname(), lookup(s.service, false)}
	if !n.mute {
		sameGroup := match{oifname(), mark(2), lookup(s.member, false)}
		r.rule(forward, fromContainer, toService, match{iifname(), mapping(s.group), setMark()})
		r.rule(forward, fromContainer, toService, sameGroup, protocol(unix.IPPROTO_TCP), reset())
		r.rule(forward, fromContainer, toService, sameGroup, unreachable())
	}
	r.rule(forward, fromContainer, toService, drop())
	if others {
		r.rule(forward, fromContainer, match{iifname(), destination(2), lookup(s.visit, false)}, accept())
		r.rule(forward, fromContainer, destinationIn(s.closed), drop())
		r.rule(forward, fromContainer, destinationIn(s.slice), clearMark())
		r.rule(forward, fromContainer, markOf(destinationOffset, s.elsewhere))
		r.rule(forward, fromContainer, destinationIn(s.slice), match{iifname(), mark(2), lookup(s.member, false)}, accept())
		r.rule(forward, fromContainer, destinationIn(s.slice), drop())
		for _, p := range []uint16{80, 443} {
			r.rule(forward, fromContainer, destinationIn(s.node), protocol(unix.IPPROTO_TCP), port(p), accept())
		}
		r.rule(forward, fromContainer, destinationIn(s.node), drop())
		r.rule(forward, sourceIn(s.gateway), toContainer, accept())
		r.rule(forward, match{oifname(), lookup(s.sandbox, false)}, drop())
		r.rule(forward, sourceIn(s.slice), clearMark())
		r.rule(forward, sourceIn(s.slice), markOf(sourceOffset, s.elsewhere))
		r.rule(forward, sourceIn(s.slice), match{oifname(), mark(2), lookup(s.member, false)}, accept())
		r.rule(forward, sourceIn(s.slice), toContainer, noMark(), accept())
	}
	// Use the mark, because nft can't list a map lookup whose result is part of a concatenation.
	r.rule(forward, fromInterface(n.prefix), toInterface(n.prefix), match{iifname(), mapping(s.group), setMark()})
	r.rule(forward, fromInterface(n.prefix), match{oifname(), mark(2), lookup(s.member, false)}, accept())
	r.rule(forward, toInterface(n.prefix), drop())

	input := r.chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	if others {
		r.rule(input, sourceIn(s.gateway), accept())
		r.rule(input, sourceIn(s.slice), established(), accept())
		r.rule(input, sourceIn(s.slice), drop())
	}
	r.rule(input, notFromInterface(n.prefix), accept())
	r.rule(input, established(), accept())
	r.rule(input, notDaddr(gw), drop())
	r.rule(input, protocol(unix.IPPROTO_ICMP), accept())
	r.rule(input, protocol(unix.IPPROTO_UDP), port(53), accept())
	r.rule(input, protocol(unix.IPPROTO_TCP), port(53), accept())
	r.rule(input, match{iifname(), lookup(s.sandbox, false)}, drop())
	r.rule(input, protocol(unix.IPPROTO_TCP), port(80), accept())
	r.rule(input, protocol(unix.IPPROTO_TCP), port(443), accept())
	r.rule(input, drop())

	post := r.chain("post", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	if others {
		r.rule(post, saddr(subnet.Bits(), subnet.Addr().AsSlice()), destinationIn(s.slice), accept())
	}
	r.rule(post, saddr(subnet.Bits(), subnet.Addr().AsSlice()), notToInterface(n.prefix), match{&expr.Masq{}})
}

func (r *ruleset) chain(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
	return r.c.AddChain(&nftables.Chain{Name: name, Table: r.table, Type: typ, Hooknum: hook, Priority: prio})
}

func (r *ruleset) rule(ch *nftables.Chain, parts ...match) {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	r.c.AddRule(&nftables.Rule{Table: r.table, Chain: ch, Exprs: all})
	r.rules[ch.Name]++
}

// intact reports whether the table has the rules and elements that rebuild would make. n.mu must be held.
func (n *Network) intact() bool {
	c, t, err := n.nft()
	if err != nil {
		return false
	}
	for chain, want := range n.rules {
		rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: chain})
		if err != nil || len(rules) != want {
			return false
		}
	}
	s := newSets(t)
	want := map[*nftables.Set]int{}
	for _, set := range s.own() {
		want[set] = 0
	}
	for set, el := range n.content(s) {
		want[set] = len(el)
	}
	if len(n.peers) > 0 {
		want[s.slice], want[s.elsewhere] = len(sliceElements(n.peers)), len(n.remote)
		want[s.worker] = len(sliceElements(relayed(n.peers)))
		want[s.closed], want[s.visit] = len(closedElements(n.remote)), len(n.visitElements(n.remote))
	}
	for set, count := range want {
		el, err := c.GetSetElements(set)
		if err != nil || len(el) != count {
			return false
		}
	}
	return true
}

func (n *Network) removeTable() error {
	c, _, err := n.nft()
	if err != nil {
		return err
	}
	deleteTables(c, n.hash())
	if err := c.Flush(); err != nil {
		return fmt.Errorf("network: delete table %s: %w", n.table, err)
	}
	return nil
}
