package dnsd

import (
	"net/netip"
	"sync"
)

// quota limits how many items exist at once: in all and per client.
type quota struct {
	limit, limitPerClient int

	mu        sync.Mutex
	total     int
	perClient map[netip.Addr]int
}

func newQuota(most, each int) *quota {
	return &quota{limit: most, limitPerClient: each, perClient: map[netip.Addr]int{}}
}

// take reports whether the client may have one more. If so, the caller must call release later.
func (q *quota) take(client netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.limit || q.perClient[client] >= q.limitPerClient {
		return false
	}
	q.total++
	q.perClient[client]++
	return true
}

func (q *quota) release(client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.perClient[client]--; q.perClient[client] == 0 {
		delete(q.perClient, client)
	}
}
