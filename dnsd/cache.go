package dnsd

import (
	"container/list"
	"encoding/binary"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	cacheBytes = 8 << 20
	entryBytes = 256 // what an entry costs beside its data

	// A reply that has expired is kept for this long: it is better than nothing where no upstream answers
	// (RFC 8767, section 5).
	staleMax = 24 * time.Hour
	staleTTL = 30 // seconds, of a stale record in an answer

	// A look-up that failed is not tried again for this long, doubled for each failure in a row (RFC 9520,
	// section 3.2). The longest is short: a laptop that is back on its network must not wait.
	failureMin = time.Second
	failureMax = 10 * time.Second
)

// cache remembers replies and failures. Where memory is short, the least recently used are dropped first.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element
	recent  *list.List // of *entry, the latest first
	bytes   int
}

// entry is what the cache knows of one question.
type entry struct {
	key      string
	reply    *reply // nil: no upstream has answered yet
	stored   time.Time
	failures int       // in a row, since the reply came
	retry    time.Time // no upstream is asked before
}

func (e *entry) size() int {
	size := entryBytes + len(e.key)
	if e.reply != nil {
		size += len(e.reply.body) + 8*len(e.reply.records)
	}
	return size
}

func (c *cache) init() { c.entries, c.recent = map[string]*list.Element{}, list.New() }

// cacheKey is what an answer depends on.
func cacheKey(q *Query) string {
	var room [maxName + 5]byte
	key := append(room[:0], q.Name()...)
	key = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(key, q.Type), q.Class)
	var bits byte
	if q.DO {
		bits |= 1
	}
	if q.Flags&flagCD != 0 {
		bits |= 2
	}
	return string(append(key, bits))
}

// known is what the cache knows of a question now.
type known struct {
	reply   *reply // nil for none
	age     time.Duration
	failing bool // the last look-up failed, and it is too early for another
}

// fresh reports whether the reply may be used without asking again.
func (k known) fresh() bool { return k.reply != nil && k.age < k.reply.life }

// get returns what is known of a question.
func (c *cache) get(key string) (k known) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[key]
	if !ok {
		return k
	}
	e := el.Value.(*entry)
	k.failing = now.Before(e.retry)
	if e.reply != nil {
		k.reply, k.age = e.reply, now.Sub(e.stored)
		if k.age >= e.reply.life+staleMax {
			k.reply = nil
		}
	}
	if k.reply == nil && !k.failing && e.failures == 0 {
		c.remove(el)
		return known{}
	}
	c.recent.MoveToFront(el)
	return k
}

// put remembers a reply. One that must not be used again only ends the row of failures.
func (c *cache) put(key string, r *reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok {
		c.remove(el)
	}
	if r.life > 0 {
		c.insert(&entry{key: key, reply: r, stored: time.Now()})
	}
}

// fail remembers that no upstream had an answer. What was known before stays.
func (c *cache) fail(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &entry{key: key}
	if el, ok := c.entries[key]; ok {
		*e = *el.Value.(*entry)
		c.remove(el)
	}
	wait := failureMin << min(e.failures, 10)
	e.failures++
	e.retry = time.Now().Add(min(wait, failureMax))
	c.insert(e)
}

// forgetFailures lets every look-up be tried again at once: there are other upstreams now.
func (c *cache) forgetFailures() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for el := c.recent.Front(); el != nil; el = el.Next() {
		e := el.Value.(*entry)
		e.failures, e.retry = 0, time.Time{}
	}
}

func (c *cache) insert(e *entry) {
	c.entries[e.key] = c.recent.PushFront(e)
	for c.bytes += e.size(); c.bytes > cacheBytes; {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(el *list.Element) {
	e := c.recent.Remove(el).(*entry)
	delete(c.entries, e.key)
	c.bytes -= e.size()
}

// write returns the answer that a known reply makes, nil where there is none. A stale one says so (RFC
// 8914, sections 4.4 and 4.20).
func (k known) write(b []byte, q *Query) []byte {
	if k.reply == nil {
		return nil
	}
	if k.fresh() {
		age := uint32(k.age / time.Second)
		return k.reply.write(b, q, -1, func(ttl uint32) uint32 { return ttl - min(age, ttl) })
	}
	why := dns.ExtendedErrorCodeStaleAnswer
	if k.reply.rcode == dns.RcodeNameError {
		why = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
	}
	return k.reply.write(b, q, int(why), func(uint32) uint32 { return staleTTL })
}
