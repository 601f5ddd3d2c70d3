package dnsd

import (
	"net/netip"
	"slices"
)

// Class is a kind of client, by the network that its query came from.
type Class uint8

const (
	Outside   Class = iota // in none of the configured networks: refused
	Loopback               // on this machine
	Container              // has an address in the containers' subnet
	Local                  // in a network that the node is configured to serve
	World                  // anybody, of a server for the public: sees public domains' challenge zones alone
)

// Network says how the clients of a network see the cloud.
type Network struct {
	Prefix netip.Prefix
	Class  Class
	// A and AAAA are the addresses at which these clients reach the internal listener. If one is the zero
	// Addr, names have no address of that family for them (NODATA).
	A, AAAA netip.Addr
	// HTTPS is the port at which they reach it by TLS; 0 is none. HTTP3 says that it is answered by HTTP/3 too.
	HTTPS uint16
	HTTP3 bool
}

// View is what Answer knows about the client.
type View struct {
	Class   Class
	A, AAAA netip.Addr
	HTTPS   uint16       // the port of the internal listener for TLS; 0 is none
	HTTP3   bool         // by HTTP/3 too
	Network netip.Prefix // of a Local client: other nodes' routers there answer it too
	Group   string       // of a container; "" if it is in none
	Recurse bool         // forward names outside our zones for this client
	// UpstreamNetworks are the networks whose reverse zones the upstream may have.
	UpstreamNetworks []netip.Prefix
	// Challenges has the answers of challenge zones; nil: there are none.
	Challenges Challenges
}

// Views finds the view of a client, from the network with the longest prefix that contains its address.
type Views []Network

// NewViews returns the networks sorted for Find.
func NewViews(networks []Network) Views {
	views := slices.Clone(networks)
	for i := range views {
		views[i].Prefix = views[i].Prefix.Masked()
	}
	slices.SortStableFunc(views, func(a, b Network) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return views
}

// Find returns the view of a client's address, without its group. An IPv4-mapped IPv6 address counts as the
// IPv4 address.
func (vs Views) Find(client netip.Addr) View {
	client = client.Unmap().WithZone("")
	for i := range vs {
		if vs[i].Prefix.Contains(client) {
			v := View{Class: vs[i].Class, A: vs[i].A, AAAA: vs[i].AAAA, HTTPS: vs[i].HTTPS, HTTP3: vs[i].HTTP3}
			if v.Class == Local {
				v.Network = vs[i].Prefix
			}
			return v
		}
	}
	return View{}
}
