// Package network connects containers to the node: each has a user namespace, a network namespace and a routed veth.
// A firewall separates the groups.
//
// There is no bridge. Every container has one address, a /32, and the host has one route to it, through the
// container's own veth. The gateway, which is the node itself, is an address on lo. So all traffic passes the host's
// IP hooks, and one nftables table decides who may talk to whom, independently of br_netfilter.
//
// Invariant: elements in that table decide what a container's interface may send and reach, and they are added before
// the link is up. Run repairs a table, link or namespace that another program has removed.
//
// The only files are pinned namespaces under Config.State, which the kernel would otherwise delete when micro ends.
// What belongs to this node is recognised by name: links by their prefix, routes by their protocol number, the gateway
// by its label. Containers have no IPv6 address except ::1: a node that forwards IPv6 ignores router advertisements,
// which would break the IPv6 of many hosts.
package network
