package network

import (
	"net/netip"
	"sync"
)

// holders maps assigned addresses to their tenants. It has its own lock, because DNS queries must not wait for the
// network's lock, which is held during calls of the kernel.
type holders struct {
	mu      sync.RWMutex
	tenants map[netip.Addr]uint32
}

// Tenant returns the tenant of the container with an address. It is known from before the container's first process
// runs until the container is removed. The tenant of a Sandbox is above MaxTenant.
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
