package handler

import (
	"context"
	"iter"
	"net/netip"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Delegations know how the world's questions about public domains reach the cloud.
type Delegations interface {
	// Addresses returns those at which the world reaches this node's DNS server, as far as they are known.
	Addresses() []netip.Addr
	// Check looks up what the world sees of a public domain.
	Check(ctx context.Context, s *cloud.State, d *cloud.PublicDomain) api.DomainCheck
	// CAA looks up what the CAA records of a public domain let the certificate authority do.
	CAA(ctx context.Context, d *cloud.PublicDomain) []api.DomainRecord
}

type domainInput struct {
	GroupInput
	Domain string `path:"domain" maxLength:"254"`
}

type removeDomainInput struct {
	GroupInput
	Domain string `path:"domain" maxLength:"254"`
	Force  bool   `query:"force" doc:"Also one that a mapped wildcard needs"`
}

func (h *Handler) serveDomains() {
	get(h, operation("domains", "GET /v1/groups/{group}/domains", "List public domains, with the DNS records to set for them"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.Domain], error) {
			s := h.view(ctx).State
			if err := mustGroup(s, in.Group); err != nil {
				return api.List[api.Domain]{}, err
			}
			return page(domainsOf(s, in.Group), in.Paging, func(d *cloud.PublicDomain) string { return string(d.Name) }, h.domain), nil
		})
	get(h, operation("add-domain", "POST /v1/groups/{group}/domains", "Have this cloud's DNS server answer certificate authorities about a domain, for wildcards too"),
		func(ctx context.Context, in *struct {
			GroupInput
			Body api.NewDomain
		}) (api.Domain, error) {
			d := cloud.PublicDomain{Group: in.Group}
			for _, name := range []struct {
				text string
				to   *cloud.Host
			}{{in.Body.Name, &d.Name}, {in.Body.Server, &d.Server}, {in.Body.Via, &d.Via}} {
				if name.text == "" {
					continue
				}
				host, err := cloud.ParseHost(name.text)
				if err != nil {
					return api.Domain{}, err
				}
				*name.to = host
			}
			at, n := h.stamp(ctx), 0
			if _, err := h.update(ctx, "add", "domain "+string(d.Name), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.AddDomain(d, at) }); err != nil {
				return api.Domain{}, err
			}
			made, err := h.Store.State().MustPublicDomain(in.Group, d.Name)
			if err != nil {
				return api.Domain{}, err
			}
			out := h.domain(made)
			out.CAA = h.Delegations.CAA(ctx, made)
			return out, nil
		})
	get(h, operation("remove-domain", "DELETE /v1/groups/{group}/domains/{domain}", "Remove a public domain"),
		func(ctx context.Context, in *removeDomainInput) (api.Changed, error) {
			host, err := cloud.ParseHost(in.Domain)
			if err != nil {
				return api.Changed{}, err
			}
			n := 0
			return h.update(ctx, "remove", "domain "+string(host), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RemoveDomain(in.Group, host, in.Force) })
		})
	get(h, operation("check-domain", "GET /v1/groups/{group}/domains/{domain}/check", "Look up what the world sees of a public domain"),
		func(ctx context.Context, in *domainInput) (api.DomainCheck, error) {
			host, err := cloud.ParseHost(in.Domain)
			if err != nil {
				return api.DomainCheck{}, err
			}
			s := h.Store.State()
			d, err := s.MustPublicDomain(in.Group, host)
			if err != nil {
				return api.DomainCheck{}, err
			}
			return h.Delegations.Check(ctx, s, d), nil
		})
}

func domainsOf(s *cloud.State, g cloud.GroupName) iter.Seq[*cloud.PublicDomain] {
	return filter(s.PublicDomains(), func(d *cloud.PublicDomain) bool { return d.Group == g })
}

// domain shows a public domain, and what to set for it.
func (h *Handler) domain(d *cloud.PublicDomain) api.Domain {
	out := api.Domain{Name: d.Name, Group: d.Group, Server: d.Server, Via: d.Via, Created: d.Created, Records: []api.DNSRecord{}}
	for _, r := range d.Records(h.Delegations.Addresses()) {
		out.Records = append(out.Records, api.DNSRecord(r))
	}
	return out
}
