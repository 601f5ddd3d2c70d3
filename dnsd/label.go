package dnsd

import (
	"slices"

	"github.com/miekg/dns"
)

// commonTypes are the types that a metric names.
var commonTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeAXFR, dns.TypeCAA, dns.TypeCNAME, dns.TypeDNSKEY, dns.TypeDS, dns.TypeHTTPS,
	dns.TypeIXFR, dns.TypeMX, dns.TypeNS, dns.TypePTR, dns.TypeSOA, dns.TypeSRV, dns.TypeSVCB, dns.TypeTXT,
}

// TypeLabel is a type's name for a metric: "A", and "other" for what nobody asks in earnest, so that
// clients can't make up labels.
func TypeLabel(qtype uint16) string {
	if slices.Contains(commonTypes, qtype) {
		return dns.TypeToString[qtype]
	}
	return "other"
}

// RcodeLabel is an rcode's name for a metric: "NOERROR".
func RcodeLabel(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // miekg/dns calls it by its other name, BADSIG
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return "other"
}
