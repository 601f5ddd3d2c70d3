package dnsd

import (
	"slices"

	"github.com/miekg/dns"
)

// commonTypes are the types that have their own label in metrics.
var commonTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeAXFR, dns.TypeCAA, dns.TypeCNAME, dns.TypeDNSKEY, dns.TypeDS, dns.TypeHTTPS,
	dns.TypeIXFR, dns.TypeMX, dns.TypeNS, dns.TypePTR, dns.TypeSOA, dns.TypeSRV, dns.TypeSVCB, dns.TypeTXT,
}

// TypeLabel returns a type's label for metrics, such as "A". Unusual types are "other", so that clients can't
// create labels without limit.
func TypeLabel(qtype uint16) string {
	if slices.Contains(commonTypes, qtype) {
		return dns.TypeToString[qtype]
	}
	return "other"
}

// RcodeLabel returns an rcode's label for metrics, such as "NOERROR".
func RcodeLabel(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // miekg/dns calls it BADSIG, which has the same number
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return "other"
}
