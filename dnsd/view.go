package dnsd

import (
	"net/netip"
	"slices"
)

// Class is what a client is to us, by the network that its query came from.
type Class uint8

const (
	Outside   Class = iota // in no network that the node knows: refused
	Loopback               // on this machine
	Container              // an instance, by its address in the subnet
	Local                  // in a network that the node was told to serve
)

// Network says how clients of a network see the cloud.
type Network struct {
	Prefix netip.Prefix
	Class  Class
	// A and AAAA are the addresses of the internal listener as these clients reach it. Where one is the
	// zero Addr, names have no address of that family here (NODATA).
	A, AAAA netip.Addr
}

// View is what Answer knows of the client.
type View struct {
	Class   Class
	A, AAAA netip.Addr
	Group   string // of a container; "" where it is in none
	Recurse bool   // names that are not ours are looked up for this client
	// Site is the networks whose addresses the upstream may have names for.
	Site []netip.Prefix
}

// Views finds the view of a client: the network with the longest prefix around its address.
type Views []Network

// NewViews returns the networks in the order in which they are tried.
func NewViews(networks []Network) Views {
	views := slices.Clone(networks)
	for i := range views {
		views[i].Prefix = views[i].Prefix.Masked()
	}
	slices.SortStableFunc(views, func(a, b Network) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return views
}

// Of returns the view of a client's address; one written as IPv4-mapped IPv6 is the IPv4 address. The
// group is left open.
func (vs Views) Of(client netip.Addr) View {
	client = client.Unmap().WithZone("")
	for i := range vs {
		if vs[i].Prefix.Contains(client) {
			return View{Class: vs[i].Class, A: vs[i].A, AAAA: vs[i].AAAA}
		}
	}
	return View{}
}
