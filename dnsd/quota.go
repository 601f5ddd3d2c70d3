package dnsd

import (
	"net/netip"
	"sync"
)

// quota bounds how many of a thing there are at once: in all, and of each client.
type quota struct {
	most, each int

	mu    sync.Mutex
	total int
	of    map[netip.Addr]int
}

func newQuota(most, each int) *quota { return &quota{most: most, each: each, of: map[netip.Addr]int{}} }

// take reports whether the client may have one more; it is then given back by release.
func (q *quota) take(client netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.most || q.of[client] >= q.each {
		return false
	}
	q.total++
	q.of[client]++
	return true
}

func (q *quota) release(client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.of[client]--; q.of[client] == 0 {
		delete(q.of, client)
	}
}
