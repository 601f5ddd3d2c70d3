package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// With other nodes in the cloud the table has these rules besides, each before those for packets of no node:
//
//	chain pre
//	  ip saddr @slice  fib saddr . iif oif 0        drop   an address of another node's instances, but not from there
//	  ip saddr @worker  ip daddr @worker            accept   this node passes it on
//	  ip saddr @slice  ip daddr SUBNET              accept
//	  ip saddr @slice                               drop
//	chain forward
//	  iifname m*  iifname . ip daddr @visit         accept   containers that are bound to a service on another node
//	  iifname m*  ip daddr @closed                  drop     and no others of the group
//	  iifname m*  ip daddr @slice  mark set 0
//	  iifname m*  mark set ip daddr map @elsewhere
//	  iifname m*  ip daddr @slice  iifname . mark @member  accept   same group, on another node
//	  iifname m*  ip daddr @slice                   drop
//	  iifname m*  ip daddr @node  tcp 80, tcp 443   accept   other nodes themselves: what they show to everybody
//	  iifname m*  ip daddr @node                    drop
//	  ip saddr @gateway  oifname m*                 accept   another node's router
//	  oifname @sandbox                              drop
//	  ip saddr @slice  mark set 0
//	  ip saddr @slice  mark set ip saddr map @elsewhere
//	  ip saddr @slice  oifname . mark @member       accept   same group, on another node
//	  ip saddr @slice  oifname m*  mark 0           accept   not known yet: its own node has checked the group
//	chain input
//	  ip saddr @gateway                             accept
//	  ip saddr @slice  ct state established,related accept
//	  ip saddr @slice                               drop
//	chain post
//	  ip saddr SUBNET  ip daddr @slice              accept   other nodes see instances' own addresses
//
// What goes from one worker to another passes a third node, which judges nothing: the two do.
//
// A packet passes two nodes' rules. The sender's node knows the sender's group for certain, the receiver's node the
// receiver's, and each checks against what it knows of the other one. So an address that another group has got is
// noticed even if one of the two nodes has not heard of that yet. Containers for single commands are known to their own
// node alone. What may reach a service is therefore up to the sender's node, which knows what each of its containers is
// bound to. An instance that it has not heard of yet, it lets nobody reach.

// elsewhereSets are the sets of the rules about other nodes.
type elsewhereSets struct{ slice, worker, gateway, node, elsewhere, closed, visit *nftables.Set }

func newElsewhereSets(t *nftables.Table) elsewhereSets {
	return elsewhereSets{
		slice:     &nftables.Set{Table: t, Name: "slice", KeyType: nftables.TypeIPAddr, Interval: true},
		worker:    &nftables.Set{Table: t, Name: "worker", KeyType: nftables.TypeIPAddr, Interval: true},
		gateway:   &nftables.Set{Table: t, Name: "gateway", KeyType: nftables.TypeIPAddr},
		node:      &nftables.Set{Table: t, Name: "node", KeyType: nftables.TypeIPAddr},
		elsewhere: &nftables.Set{Table: t, Name: "elsewhere", IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeMark},
		closed:    &nftables.Set{Table: t, Name: "closed", KeyType: nftables.TypeIPAddr},
		visit:     &nftables.Set{Table: t, Name: "visit", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)},
	}
}

// addElsewhere adds the sets with the elements of the peers and of the instances on other nodes. n.mu must be held.
func (n *Network) addElsewhere(c *nftables.Conn, s elsewhereSets) error {
	var gateways, nodes []nftables.SetElement
	seen := map[netip.Addr]bool{}
	for _, p := range n.peers {
		gateways = append(gateways, nftables.SetElement{Key: gateway(p.Subnet).AsSlice()})
		if p.Addr.Is4() && !p.Addr.IsLoopback() && !seen[p.Addr] {
			seen[p.Addr] = true
			nodes = append(nodes, nftables.SetElement{Key: p.Addr.AsSlice()})
		}
	}
	for _, set := range []struct {
		*nftables.Set
		elements []nftables.SetElement
	}{
		{s.slice, sliceElements(n.peers)}, {s.worker, sliceElements(relayed(n.peers))}, {s.gateway, gateways}, {s.node, nodes}, {s.elsewhere, groupElements(n.remote)},
		{s.closed, closedElements(n.remote)}, {s.visit, n.visitElements(n.remote)},
	} {
		if err := addSet(c, set.Set, set.elements); err != nil {
			return err
		}
	}
	return nil
}

// relayed returns the workers between which this node passes packets on: none if it is a worker itself.
func relayed(peers []Peer) (workers []Peer) {
	for _, p := range peers {
		if p.Worker && p.Relay == "" {
			workers = append(workers, p)
		}
	}
	return workers
}

// sliceElements returns the beginnings and ends of the peers' slices.
func sliceElements(peers []Peer) (list []nftables.SetElement) {
	for _, p := range peers {
		list = append(list, nftables.SetElement{Key: p.Subnet.Addr().AsSlice()})
		if end := last(p.Subnet).Next(); end.IsValid() {
			list = append(list, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return list
}

func groupElements(instances map[netip.Addr]Remote) []nftables.SetElement {
	list := make([]nftables.SetElement, 0, len(instances))
	for a, i := range instances {
		list = append(list, nftables.SetElement{Key: a.AsSlice(), Val: binaryutil.NativeEndian.PutUint32(i.Group + 1)})
	}
	return list
}

// closedElements returns the addresses of services.
func closedElements(instances map[netip.Addr]Remote) (list []nftables.SetElement) {
	for a, i := range instances {
		if i.Service != "" {
			list = append(list, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	return list
}

// visitElements returns the elements that let this node's containers reach those of the instances that are services. n.mu
// must be held.
func (n *Network) visitElements(instances map[netip.Addr]Remote) (list []nftables.SetElement) {
	for _, ep := range n.endpoints {
		if ep.ruled {
			list = append(list, ep.visitsElsewhere(instances)...)
		}
	}
	return list
}

// visitsElsewhere returns the elements that let an endpoint reach services on other nodes.
func (ep *endpoint) visitsElsewhere(instances map[netip.Addr]Remote) (list []nftables.SetElement) {
	if len(ep.Reaches) == 0 {
		return nil
	}
	for a, i := range instances {
		if i.Service != "" && i.Group == ep.Tenant && slices.Contains(ep.Reaches, i.Service) {
			list = append(list, nftables.SetElement{Key: concat(ifname(ep.link), a.AsSlice())})
		}
	}
	return list
}

// updateElsewhere changes the elements of instances on other nodes. n.mu must be held.
func (n *Network) updateElsewhere(started, gone map[netip.Addr]Remote) error {
	c, t, err := n.nft()
	if err != nil {
		return err
	}
	s := newElsewhereSets(t)
	old := groupElements(gone)
	for k := range old {
		old[k].Val = nil
	}
	for _, change := range []struct {
		of  func(*nftables.Set, []nftables.SetElement) error
		set *nftables.Set
		el  []nftables.SetElement
	}{
		{c.SetDeleteElements, s.elsewhere, old}, {c.SetDeleteElements, s.visit, n.visitElements(gone)}, {c.SetDeleteElements, s.closed, closedElements(gone)},
		{c.SetAddElements, s.closed, closedElements(started)}, {c.SetAddElements, s.visit, n.visitElements(started)}, {c.SetAddElements, s.elsewhere, groupElements(started)},
	} {
		if err := changeElements(change.of, change.set, change.el); err != nil {
			return err
		}
	}
	if c.Flush() == nil {
		return nil
	}
	return n.rebuild()
}

// elementsAtOnce is how many elements a message has at most: the kernel's attributes are at most 64 KiB long.
const elementsAtOnce = 500

func changeElements(change func(*nftables.Set, []nftables.SetElement) error, set *nftables.Set, list []nftables.SetElement) error {
	for len(list) > 0 {
		k := min(len(list), elementsAtOnce)
		if err := change(set, list[:k]); err != nil {
			return fmt.Errorf("network: set %s: %w", set.Name, err)
		}
		list = list[k:]
	}
	return nil
}

// addSet adds a set with its elements.
func addSet(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	if err := c.AddSet(set, nil); err != nil {
		return fmt.Errorf("network: set %s: %w", set.Name, err)
	}
	return changeElements(c.SetAddElements, set, elements)
}

func sourceIn(s *nftables.Set) match      { return addressIn(sourceOffset, s) }
func destinationIn(s *nftables.Set) match { return addressIn(destinationOffset, s) }

func addressIn(offset uint32, s *nftables.Set) match {
	return append(loadAddress(offset), lookup(s, false))
}

func loadAddress(offset uint32) match {
	return append(family(unix.NFPROTO_IPV4), &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4})
}

// setMark sets the packet's mark to register 1.
func setMark() expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1} }

// markOf sets the mark to that of the instance on another node that has the address, plus nothing if it is not known.
func markOf(offset uint32, s *nftables.Set) match {
	return append(loadAddress(offset), mapping(s), setMark())
}

func clearMark() match {
	return match{&expr.Immediate{Register: 1, Data: make([]byte, 4)}, setMark()}
}

func noMark() match { return match{mark(1), cmp(expr.CmpOpEq, make([]byte, 4))} }

// wrongWay matches packets whose source address this machine would not reach by the interface they came from.
func wrongWay() match {
	return match{
		&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true},
		cmp(expr.CmpOpEq, make([]byte, 4)),
	}
}
