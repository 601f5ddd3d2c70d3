// Package network joins containers to the node: a user and a network namespace each, a routed veth, and
// walls between groups.
//
// There is no bridge. Every container has one address, a /32, and the host one route to it, through
// that container's own veth; the gateway, which is the node itself, is an address on lo. So all
// traffic passes the host's IP hooks, and the one nftables table that decides who may talk to whom
// holds whatever br_netfilter says.
//
// Invariant: what a container's interface may send and reach is decided by elements in that table, and
// these are there before the link is up. A table, a link or a namespace that somebody took away is
// made again by Run.
//
// Nothing is kept in files but what the kernel itself would forget on a restart of micro: namespaces
// are pinned under Config.State. Names tell what is ours: links by their prefix, routes by their
// protocol number, the gateway by its label. Containers have no IPv6 address but ::1: a node that
// forwards IPv6 stops listening to router advertisements, which is too high a price for its network.
package network
