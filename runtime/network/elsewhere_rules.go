package network

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// With other nodes in the cloud the table has these rules besides, each before those for packets of no node:
//
//	chain pre
//	  ip saddr @slice  fib saddr . iif oif 0        drop   an address of another node's instances, but not from there
//	  ip saddr @slice  ip daddr SUBNET              accept
//	  ip saddr @slice                               drop
//	chain forward
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
// A packet passes two nodes' rules. The sender's node knows the sender's group for certain, the receiver's node the
// receiver's, and each checks against what it knows of the other one. So an address that another group has got is
// noticed even if one of the two nodes has not heard of that yet. Containers for single commands are known to their own
// node alone.

// elsewhereSets are the sets of the rules about other nodes.
type elsewhereSets struct{ slice, gateway, node, elsewhere *nftables.Set }

func newElsewhereSets(t *nftables.Table) elsewhereSets {
	return elsewhereSets{
		slice:     &nftables.Set{Table: t, Name: "slice", KeyType: nftables.TypeIPAddr, Interval: true},
		gateway:   &nftables.Set{Table: t, Name: "gateway", KeyType: nftables.TypeIPAddr},
		node:      &nftables.Set{Table: t, Name: "node", KeyType: nftables.TypeIPAddr},
		elsewhere: &nftables.Set{Table: t, Name: "elsewhere", IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeMark},
	}
}

// add adds the sets with the elements of the peers and of the instances on other nodes.
func (s elsewhereSets) add(c *nftables.Conn, peers []Peer, groups map[netip.Addr]uint32) error {
	var gateways, nodes []nftables.SetElement
	seen := map[netip.Addr]bool{}
	for _, p := range peers {
		gateways = append(gateways, nftables.SetElement{Key: gateway(p.Subnet).AsSlice()})
		if p.Addr.Is4() && !p.Addr.IsLoopback() && !seen[p.Addr] {
			seen[p.Addr] = true
			nodes = append(nodes, nftables.SetElement{Key: p.Addr.AsSlice()})
		}
	}
	for _, set := range []struct {
		*nftables.Set
		elements []nftables.SetElement
	}{{s.slice, sliceElements(peers)}, {s.gateway, gateways}, {s.node, nodes}, {s.elsewhere, groupElements(groups)}} {
		if err := addSet(c, set.Set, set.elements); err != nil {
			return err
		}
	}
	return nil
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

func groupElements(groups map[netip.Addr]uint32) []nftables.SetElement {
	list := make([]nftables.SetElement, 0, len(groups))
	for a, group := range groups {
		list = append(list, nftables.SetElement{Key: a.AsSlice(), Val: binaryutil.NativeEndian.PutUint32(group + 1)})
	}
	return list
}

// updateGroups changes the elements of instances on other nodes. n.mu must be held.
func (n *Network) updateGroups(started map[netip.Addr]uint32, ended []netip.Addr) error {
	c, t, err := n.nft()
	if err != nil {
		return err
	}
	set := newElsewhereSets(t).elsewhere
	old := make(map[netip.Addr]uint32, len(ended))
	for _, a := range ended {
		old[a] = 0
	}
	if err := changeElements(c.SetDeleteElements, set, keysOnly(old)); err != nil {
		return err
	}
	if err := changeElements(c.SetAddElements, set, groupElements(started)); err != nil {
		return err
	}
	if c.Flush() == nil {
		return nil
	}
	return n.rebuild()
}

func keysOnly(addrs map[netip.Addr]uint32) []nftables.SetElement {
	list := make([]nftables.SetElement, 0, len(addrs))
	for a := range maps.Keys(addrs) {
		list = append(list, nftables.SetElement{Key: a.AsSlice()})
	}
	return list
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
