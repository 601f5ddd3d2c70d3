package dnsd

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// CAA asks the upstreams for the CAA records that count for a host, and returns them with the name that they stand at:
// the host itself, or the closest domain above it that has any (RFC 8659, section 3). It returns none if there are none.
func (f *Forwarder) CAA(ctx context.Context, h cloud.Host) (at cloud.Host, records []cloud.CAARecord, err error) {
	for name := strings.TrimPrefix(string(h), "*."); name != ""; _, name, _ = strings.Cut(name, ".") {
		limited, cancel := context.WithTimeout(ctx, sightingTime)
		m, err := f.askAny(limited, question{name: dns.Fqdn(name), qtype: dns.TypeCAA, class: dns.ClassINET})
		cancel()
		if err != nil {
			return "", nil, err
		}
		for _, rr := range m.Answer { // behind an alias, those of its target
			if caa, ok := rr.(*dns.CAA); ok {
				records = append(records, cloud.CAARecord{Critical: caa.Flag&128 != 0, Tag: caa.Tag, Value: caa.Value})
			}
		}
		if len(records) > 0 {
			return cloud.Host(name), records, nil
		}
	}
	return "", nil, nil
}
