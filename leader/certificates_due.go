package leader

import (
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/protoduction/micro/cloud"
)

// Records are what is known of certificates, by host.
type Records = map[cloud.Host]cloud.CertificateRecord

const (
	// retryFirst is the pause after the first order of a host that fails. Each further one doubles it.
	retryFirst = time.Minute
	retryMost  = 6 * time.Hour
	// weekly is how many certificates are ordered for a registered domain in a week. Let's Encrypt issues 50.
	weekly = 45
	// week is the window of that limit.
	week = 7 * 24 * time.Hour
)

// Wanted returns the hosts that are to have a certificate of their own. A wildcard can only be proved by DNS, and so
// needs its public domain. In a public domain the wildcard's certificate serves all hosts of one label; they get their
// own where that one is not to be had.
func Wanted(s *cloud.State, records Records, now time.Time) []cloud.Host {
	wanted := map[cloud.Host]bool{}
	for v := range s.VirtualHosts() {
		if !v.WantsCertificate() || s.Orderable(v.Host) != nil {
			continue
		}
		_, parent, _ := strings.Cut(string(v.Host), ".")
		d, public := s.PublicDomain(cloud.Host(parent))
		if public {
			wanted[d.Wildcard()] = true
		}
		if v.Host[0] != '*' && (!public || missed(records[d.Wildcard()], now)) {
			wanted[v.Host] = true
		}
	}
	return slices.Sorted(maps.Keys(wanted))
}

// missed reports whether a certificate is not to be had in time: orders for it fail, and none is in hand, or one that
// ends soon.
func missed(r cloud.CertificateRecord, now time.Time) bool {
	return r.Failures > 0 && r.Expires.Sub(now) < r.Expires.Sub(r.From)/alarmBefore
}

// NextOrders returns the hosts whose orders are due, and when the next one is; zero for never. It keeps to the
// number of certificates that a registered domain gets in a week.
func NextOrders(hosts []cloud.Host, records Records, now time.Time) (due []cloud.Host, next time.Time) {
	issued := map[string][]time.Time{}
	for _, r := range records {
		domain := registered(r.Host)
		for _, at := range r.Issued {
			if now.Sub(at) < week {
				issued[domain] = append(issued[domain], at)
			}
		}
	}
	wait := func(until time.Time) {
		if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	for _, h := range hosts {
		domain := registered(h)
		at := records[h].Due()
		if slots := issued[domain]; len(slots) >= weekly {
			slices.SortFunc(slots, time.Time.Compare)
			if free := slots[len(slots)-weekly].Add(week); free.After(at) {
				at = free
			}
		}
		if at.After(now) {
			wait(at)
			continue
		}
		due = append(due, h)
		issued[domain] = append(issued[domain], now)
	}
	return due, next
}

// registered is the domain that somebody has registered, by which authorities count.
func registered(h cloud.Host) string {
	name := strings.TrimPrefix(string(h), "*.")
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name
	}
	return domain
}

// succeeded is the record of a host after an order that succeeded.
func succeeded(r cloud.CertificateRecord, c cloud.IssuedCertificate, now time.Time) cloud.CertificateRecord {
	r.Issuer, r.From, r.Expires = c.Issuer, c.From, c.Expires
	r.Failures, r.Failed, r.Next = 0, nil, time.Time{}
	r.Issued = slices.DeleteFunc(slices.Clone(r.Issued), func(at time.Time) bool { return now.Sub(at) >= week })
	r.Issued = append(r.Issued, now)
	return r
}

// failed is the record of a host after an order that failed.
func orderFailed(r cloud.CertificateRecord, why *cloud.OrderFailure, now time.Time) cloud.CertificateRecord {
	r.Failures++
	r.Failed = why
	pause := min(retryFirst<<min(r.Failures-1, 12), retryMost)
	if why.Unasked {
		pause = retryFirst // it costs the authority nothing
	}
	r.Next = now.Add(max(pause, why.Wait))
	return r
}

// unwanted returns the hosts of records that are of no use any more: no host has them, and no certificate that could
// still serve.
func unwanted(hosts []cloud.Host, records Records, now time.Time) (gone []cloud.Host) {
	for _, h := range slices.Sorted(maps.Keys(records)) {
		if !slices.Contains(hosts, h) && !now.Before(records[h].Expires) && now.Sub(records[h].Tried) > week {
			gone = append(gone, h)
		}
	}
	return gone
}
