package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Domain is a public domain, about which this cloud's DNS server answers certificate authorities.
type Domain struct {
	Name    cloud.Host      `json:"name"`
	Group   cloud.GroupName `json:"group"`
	Server  cloud.Host      `json:"server,omitempty" doc:"Where the world finds this cloud's DNS server"`
	Via     cloud.Host      `json:"via,omitempty" doc:"The domain whose delegation it uses"`
	Records []DNSRecord     `json:"records" nullable:"false" doc:"To set at the domain's DNS provider"`
	Created time.Time       `json:"created"`
	CAA     []DomainRecord  `json:"caa,omitempty" doc:"What the world's CAA records let the certificate authority do, when the domain was added just now"`
}

// DNSRecord is a record to set at a DNS provider.
type DNSRecord struct {
	Name  cloud.Host `json:"name"`
	Type  string     `json:"type" enum:"A,AAAA,NS,CNAME"`
	Value string     `json:"value,omitempty" doc:"Missing: the address at which the world reaches the node, which does not know it"`
}

// NewDomain makes a domain public.
type NewDomain struct {
	Name   string `json:"name" minLength:"1" maxLength:"254"`
	Server string `json:"server,omitempty" maxLength:"254" doc:"Where the world finds this cloud's DNS server; missing: micro-dns.NAME"`
	Via    string `json:"via,omitempty" maxLength:"254" doc:"A domain whose delegation it uses"`
}

// DomainCheck is what the world sees of a public domain.
type DomainCheck struct {
	Name    cloud.Host     `json:"name"`
	OK      bool           `json:"ok" doc:"The world's questions reach this cloud"`
	Records []DomainRecord `json:"found" nullable:"false" doc:"The records that are to be set, and what is seen of each"`
	CAA     []DomainRecord `json:"caa" nullable:"false" doc:"What the domain's CAA records let the certificate authority do; none where no certificates are ordered"`
}

// Forbidden returns the CAA record that keeps the certificate authority from issuing.
func (c DomainCheck) Forbidden() (DomainRecord, bool) { return forbidden(c.CAA) }

// Forbidden returns the CAA record that keeps the certificate authority from issuing.
func (d Domain) Forbidden() (DomainRecord, bool) { return forbidden(d.CAA) }

func forbidden(caa []DomainRecord) (DomainRecord, bool) {
	if i := slices.IndexFunc(caa, func(r DomainRecord) bool { return r.Status == Fail }); i >= 0 {
		return caa[i], true
	}
	return DomainRecord{}, false
}

// Missing returns the first record that is surely not as it should be, else the first that is perhaps not.
func (c DomainCheck) Missing() (DomainRecord, bool) {
	for _, status := range []CheckStatus{Fail, Warn} {
		if i := slices.IndexFunc(c.Records, func(r DomainRecord) bool { return r.Status == status }); i >= 0 {
			return c.Records[i], true
		}
	}
	return DomainRecord{}, false
}

// DomainRecord is a record of a domain, and what the world sees of it.
type DomainRecord struct {
	Name   cloud.Host  `json:"name"`
	Type   string      `json:"type" enum:"A,AAAA,NS,CNAME,CAA"`
	Value  string      `json:"value,omitempty" doc:"As it should be; missing: the address at which the world reaches the node"`
	Status CheckStatus `json:"status" enum:"ok,warn,fail"`
	Text   string      `json:"text" doc:"What is seen, in words"`
	Hint   string      `json:"hint,omitempty" doc:"What to do about it"`
}

// Domains lists a group's public domains.
func (c *Client) Domains(ctx context.Context, g cloud.GroupName) ([]Domain, error) {
	return all[Domain](ctx, c, groupPath(g, "domains"), nil)
}

// AddDomain makes a domain public, and returns it with the records to set.
func (c *Client) AddDomain(ctx context.Context, g cloud.GroupName, d NewDomain) (Domain, error) {
	return call[Domain](ctx, c, http.MethodPost, groupPath(g, "domains"), nil, d)
}

// RemoveDomain ends a public domain; with force also one that a mapped wildcard needs.
func (c *Client) RemoveDomain(ctx context.Context, g cloud.GroupName, name string, force bool) (Changed, error) {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return call[Changed](ctx, c, http.MethodDelete, groupPath(g, "domains/"+url.PathEscape(name)), query, nil)
}

// CheckDomain looks up what the world sees of a public domain.
func (c *Client) CheckDomain(ctx context.Context, g cloud.GroupName, name string) (DomainCheck, error) {
	return call[DomainCheck](ctx, c, http.MethodGet, groupPath(g, "domains/"+url.PathEscape(name)+"/check"), nil, nil)
}
