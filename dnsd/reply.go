package dnsd

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// reply is an upstream's answer in the cache: everything after the question, in wire form. A client may spell
// the name in other letter case; the question's length is the same, so compression pointers stay valid.
type reply struct {
	rcode    int
	body     []byte
	records  []record
	counts   [3]uint16 // of the records, by section
	negative bool      // NXDOMAIN or NODATA
	filtered bool      // private addresses were removed
	cut      bool      // truncated by the upstream, which could not be asked by TCP
	life     time.Duration
}

// record is one resource record of a reply.
type record struct {
	section section
	ttl     uint16 // offset of the TTL in the body
	end     uint16 // offset of the record's end
}

type section uint8

const (
	answerSection section = iota
	authoritySection
	additionalSection
)

// newReply packs an answer, without its OPT record.
func newReply(m *dns.Msg) (*reply, error) {
	packed := *m
	packed.Extra = slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	packed.Compress, packed.Rcode = true, m.Rcode&0xf // the upper bits were the OPT record's
	wire, err := packed.Pack()
	if err != nil {
		return nil, err
	}
	start := skipName(wire, headerLen) + 4
	r := &reply{rcode: packed.Rcode, body: wire[start:], cut: m.Truncated}
	r.counts = [3]uint16{uint16(len(packed.Answer)), uint16(len(packed.Ns)), uint16(len(packed.Extra))}
	i := start
	for s, count := range r.counts {
		for range count {
			i = skipName(wire, i)
			ttl := i + 4
			i += 10 + int(binary.BigEndian.Uint16(wire[i+8:]))
			r.records = append(r.records, record{section(s), uint16(ttl - start), uint16(i - start)})
		}
	}
	return r, nil
}

// write returns the answer for a client. info is an extended error or -1; update computes the TTL in seconds
// that each record has now. If not everything fits, the answer has the records of the answer section that
// fit and the TC flag: some resolvers can't ask by TCP. The other sections are complete or absent.
func (r *reply) write(b []byte, q *Query, info int, update func(ttl uint32) uint32) []byte {
	m := newMessage(b, q)
	m.flags |= flagRA
	m.rcode, m.info = r.rcode, info
	if r.filtered && info < 0 {
		m.info = int(dns.ExtendedErrorCodeFiltered)
	}
	if r.cut {
		m.flags |= flagTC
	}
	start := len(m.b)
	counts := r.fit(m.limit - start)
	if counts[answerSection] < r.counts[answerSection] || r.needsAuthority(q) && counts[authoritySection] < r.counts[authoritySection] {
		m.flags |= flagTC
	}
	kept := r.records[:int(counts[0])+int(counts[1])+int(counts[2])]
	if n := len(kept); n > 0 {
		m.b = append(m.b, r.body[:kept[n-1].end]...)
	}
	for _, rec := range kept {
		ttl := m.b[start+int(rec.ttl):]
		binary.BigEndian.PutUint32(ttl, update(binary.BigEndian.Uint32(ttl)))
	}
	m.answers, m.authorities, m.additional = counts[0], counts[1], counts[2]
	return m.finish()
}

// fit returns how many records of each section fit into so many bytes.
func (r *reply) fit(room int) (counts [3]uint16) {
	for _, rec := range r.records {
		if int(rec.end) > room {
			if rec.section > answerSection {
				counts[rec.section] = 0 // an incomplete section would look complete
			}
			break
		}
		counts[rec.section]++
	}
	return counts
}

// needsAuthority reports whether the answer is useless without its authority section, which has the lifetime of
// a negative answer and its proof.
func (r *reply) needsAuthority(q *Query) bool { return r.counts[answerSection] == 0 || q.DO }
