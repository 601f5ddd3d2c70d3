package dnsd

import (
	"time"

	"github.com/miekg/dns"
)

const (
	positiveMax = time.Hour       // longest time in the cache, whatever the TTL
	negativeMax = 5 * time.Minute // the same for negative answers
)

// isNegative reports whether an answer is NXDOMAIN, or has no record of the type asked for (NODATA, perhaps
// with CNAME records, RFC 2308, section 2.2).
func isNegative(m *dns.Msg) bool {
	if m.Rcode != dns.RcodeSuccess {
		return true
	}
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == m.Question[0].Qtype {
			return false
		}
	}
	return true
}

// lifetime returns how long an answer may be cached: its lowest TTL, for a negative answer limited by its SOA
// too (RFC 2308, section 5). 0 means that it must not be cached.
func lifetime(m *dns.Msg) time.Duration {
	life, negative, hasSOA := positiveMax, isNegative(m), false
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			life = min(life, seconds(rr.Header().Ttl))
			if soa, ok := rr.(*dns.SOA); ok && negative {
				hasSOA = true
				life = min(life, negativeMax, seconds(soa.Minttl))
			}
		}
	}
	if negative && !hasSOA {
		return 0
	}
	return life
}

// seconds converts a TTL. A TTL with the highest bit set counts as 0 (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl >= 1<<31 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
