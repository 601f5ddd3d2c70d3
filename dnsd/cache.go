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
	entryBytes = 256 // overhead of an entry, beside its data

	// Expired replies are kept for staleMax, to be served when no upstream answers (RFC 8767, section 5).
	staleMax = 24 * time.Hour
	staleTTL = 30 // seconds; TTL of stale records in answers

	// A failed lookup is not retried for failureMin, which doubles with each failure in a row (RFC 9520,
	// section 3.2). failureMax is short so that a laptop which is back on its network need not wait.
	failureMin = time.Second
	failureMax = 10 * time.Second
)

// cache holds replies and failures, up to cacheBytes. It evicts the least recently used entries first.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element
	recent  *list.List // of *entry, most recently used first
	bytes   int
}

// entry is what the cache holds for one question.
type entry struct {
	key      string
	reply    *reply // nil: no upstream has answered yet
	stored   time.Time
	failures int       // in a row, since the last reply
	retry    time.Time // don't ask an upstream before this time
}

func (e *entry) size() int {
	size := entryBytes + len(e.key)
	if e.reply != nil {
		size += len(e.reply.body) + 8*len(e.reply.records)
	}
	return size
}

func (c *cache) init() { c.entries, c.recent = map[string]*list.Element{}, list.New() }

// cacheKey returns a key of everything that an upstream's answer depends on.
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

// cacheState is what the cache holds for a question at one moment.
type cacheState struct {
	reply   *reply // nil for none
	age     time.Duration
	failing bool // the last lookup failed, and it is too early to retry
}

// fresh reports whether there is a reply that has not expired.
func (k cacheState) fresh() bool { return k.reply != nil && k.age < k.reply.life }

// state returns what the cache holds for a question.
func (c *cache) state(key string) (k cacheState) {
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
		return cacheState{}
	}
	c.recent.MoveToFront(el)
	return k
}

// put stores a reply and resets the count of failures. A reply with a lifetime of 0 is not stored.
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

// fail records that no upstream had an answer. An older reply is kept.
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

// forgetFailures lets every lookup be retried at once. It is called when the upstreams have changed.
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

// write returns the answer for a cached reply, nil if there is none. A stale answer has an extended error
// that says so (RFC 8914, sections 4.4 and 4.20).
func (k cacheState) write(b []byte, q *Query) []byte {
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
