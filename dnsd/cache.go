package dnsd

import (
	"container/list"
	"encoding/binary"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	cacheBytes  = 8 << 20
	cacheMax    = time.Hour       // an answer is asked for anew after that, whatever its TTL
	negativeMax = 5 * time.Minute // and "no such name" after that
	entryBytes  = 256             // what an entry costs beside its data
)

// reply is an upstream's answer as it is kept: everything behind the question, in wire form. The
// question is always as long, so compression pointers stay right when the client's spelling of the name
// is put in front.
type reply struct {
	rcode    int
	counts   [3]uint16
	body     []byte
	ttls     []int // where in body TTLs stand
	filtered bool
	life     time.Duration // how long it may be kept
}

// newReply packs an answer, without its OPT record.
func newReply(m *dns.Msg, life time.Duration, filtered bool) (*reply, error) {
	m.Extra = withoutOPT(m.Extra)
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	start := skipName(wire, headerLen) + 4
	r := &reply{rcode: m.Rcode, body: wire[start:], filtered: filtered, life: life}
	r.counts = [3]uint16{uint16(len(m.Answer)), uint16(len(m.Ns)), uint16(len(m.Extra))}
	for i := start; i < len(wire); {
		i = skipName(wire, i)
		r.ttls = append(r.ttls, i+4-start)
		i += 10 + int(binary.BigEndian.Uint16(wire[i+8:]))
	}
	return r, nil
}

func withoutOPT(rrs []dns.RR) []dns.RR {
	var kept []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	return kept
}

// write makes the answer for a client, of a reply that is so old.
func (r *reply) write(b []byte, q *Query, age time.Duration) []byte {
	m := newMessage(b, q)
	m.flags |= flagRA
	m.rcode = r.rcode
	if r.filtered {
		m.info = int(dns.ExtendedErrorCodeFiltered)
	}
	start := len(m.b)
	if start+len(r.body) > m.limit {
		m.flags |= flagTC
		return m.finish()
	}
	m.b = append(m.b, r.body...)
	seconds := uint32(age / time.Second)
	for _, at := range r.ttls {
		field := m.b[start+at:]
		ttl := binary.BigEndian.Uint32(field)
		binary.BigEndian.PutUint32(field, ttl-min(seconds, ttl))
	}
	m.answers, m.authorities, m.additional = r.counts[0], r.counts[1], r.counts[2]
	return m.finish()
}

// lifetime is how long an answer may be kept: its least TTL, and for "nothing there" what the SOA says
// (RFC 2308, section 5). 0 is not at all.
func lifetime(m *dns.Msg) time.Duration {
	life := cacheMax
	negative := m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0
	if negative {
		life = 0
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			ttl := time.Duration(rr.Header().Ttl) * time.Second
			soa, isSOA := rr.(*dns.SOA)
			switch {
			case rr.Header().Rrtype == dns.TypeOPT:
			case negative && isSOA:
				life = min(negativeMax, ttl, time.Duration(soa.Minttl)*time.Second)
			case !negative:
				life = min(life, ttl)
			}
		}
	}
	return life
}

// cache keeps replies, the least recently used of them going first when memory is short.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*list.Element
	recent  *list.List // of *entry, the latest first
	bytes   int
}

type entry struct {
	key    string
	reply  *reply
	stored time.Time
}

func (e *entry) size() int { return entryBytes + len(e.key) + len(e.reply.body) + 8*len(e.reply.ttls) }

func (c *cache) init(now func() time.Time) {
	c.now, c.entries, c.recent = now, map[string]*list.Element{}, list.New()
}

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

// get returns a reply and its age.
func (c *cache) get(key string) (*reply, time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[key]
	if !ok {
		return nil, 0, false
	}
	e := el.Value.(*entry)
	age := c.now().Sub(e.stored)
	if age >= e.reply.life {
		c.remove(el)
		return nil, 0, false
	}
	c.recent.MoveToFront(el)
	return e.reply, age, true
}

func (c *cache) put(key string, r *reply) {
	if r.life <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok {
		c.remove(el)
	}
	e := &entry{key, r, c.now()}
	c.entries[key] = c.recent.PushFront(e)
	for c.bytes += e.size(); c.bytes > cacheBytes; {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(el *list.Element) {
	e := c.recent.Remove(el).(*entry)
	delete(c.entries, e.key)
	c.bytes -= e.size()
}
