package network

import (
	"net/netip"
	"sync"
)

// holders are the tenants of the addresses that are given out. They have a lock of their own: whoever
// answers a query must not wait for the kernel, as who holds the network's may.
type holders struct {
	mu      sync.RWMutex
	tenants map[netip.Addr]uint32
}

// Tenant returns whose container has an address: known from before its first process runs until nothing
// of it is left. That of a Sandbox is above MaxTenant.
func (n *Network) Tenant(ip netip.Addr) (uint32, bool) {
	n.holders.mu.RLock()
	defer n.holders.mu.RUnlock()
	tenant, ok := n.holders.tenants[ip]
	return tenant, ok
}

func (h *holders) add(ip netip.Addr, tenant uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tenants == nil {
		h.tenants = map[netip.Addr]uint32{}
	}
	h.tenants[ip] = tenant
}

func (h *holders) remove(ip netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tenants, ip)
}
