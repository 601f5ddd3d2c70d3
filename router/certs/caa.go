package certs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"github.com/protoduction/micro/cloud"
)

// permitted returns by which of the ways a host may be proved to an authority, as the CAA records of its domain have it.
// The error is a *cloud.OrderFailure: an order that the authority would refuse is not begun, because it counts against
// its limits. Nobody looks where the authority does not say by which names it goes, or the records can't be read.
func (a *ACME) permitted(ctx context.Context, authority acme.Directory, account string, h cloud.Host, w ways, r cloud.CertificateRecord) (ways, error) {
	if a.CAA == nil || authority.Meta == nil || len(authority.Meta.CAAIdentities) == 0 || r.Failures%askAnyway == askAnyway-1 {
		return w, nil
	}
	at, records, err := a.CAA(ctx, h)
	if err != nil {
		a.Log.Debug("the CAA records cannot be read", "host", h, "err", err)
		return w, nil
	}
	return w.permitted(cloud.Issuer{Names: authority.Meta.CAAIdentities, Account: account}, at, records, h)
}

// permitted returns those of the ways by which CAA records, which stand at a name, let an authority issue for a host. The
// error is a *cloud.OrderFailure.
func (w ways) permitted(issuer cloud.Issuer, at cloud.Host, records []cloud.CAARecord, h cloud.Host) (ways, error) {
	p := issuer.Permits(records, h)
	if p.Issue {
		return w.of(p.Methods, at, issuer.Names[0])
	}
	tag := "issue"
	if strings.HasPrefix(string(h), "*.") && slices.ContainsFunc(records, func(r cloud.CAARecord) bool { return strings.EqualFold(r.Tag, "issuewild") }) {
		tag = "issuewild"
	}
	f := &cloud.OrderFailure{
		Step: cloud.StepCAA, Unasked: true, Reason: "the CAA records of " + string(at) + " let nobody issue certificates",
		Hint: "set at the DNS provider of " + string(at) + ": CAA 0 " + tag + " \"" + issuer.Names[0] + "\"",
	}
	switch {
	case p.Account:
		f.Reason = "the CAA records of " + string(at) + " let " + issuer.Names[0] + " issue for another account than this cloud's, which is " + issuer.Account
		f.Hint = "set accounturi in the CAA record of " + string(at) + " to that account, or leave it out"
	case p.Unknown != "":
		f.Reason = "a CAA record of " + string(at) + " has the tag " + p.Unknown + ", which is critical: an authority that does not know it may not issue"
		f.Hint = "remove it at the DNS provider of " + string(at)
	case len(p.Others) > 0:
		f.Reason = "the CAA records of " + string(at) + " let only " + strings.Join(p.Others, ", ") + " issue certificates, and not " + issuer.Names[0]
	}
	return w, f
}

// of returns those of the ways that are among methods, which are kinds of challenges; nil is any.
func (w ways) of(methods []string, at cloud.Host, issuer string) (ways, error) {
	if methods == nil {
		return w, nil
	}
	may := func(kind string) bool { return slices.Contains(methods, kind) }
	left := ways{http: w.http && may(acme.ChallengeTypeHTTP01), alpn: w.alpn && may(acme.ChallengeTypeTLSALPN01), dns: w.dns && may(acme.ChallengeTypeDNS01)}
	if left != (ways{}) {
		return left, nil
	}
	hint := "change validationmethods in the CAA record of " + string(at)
	if may(acme.ChallengeTypeDNS01) {
		hint += ", or micro domain add " + string(at)
	}
	return w, &cloud.OrderFailure{
		Step: cloud.StepCAA, Unasked: true, Hint: hint,
		Reason: "the CAA records of " + string(at) + " let " + issuer + " issue by " + strings.Join(methods, ", ") + " alone, and this cloud cannot prove the name so",
	}
}

// Permission is what the CAA records of a host let the authority do that orders are sent to.
type Permission struct {
	Issuer string     // the authority's name in CAA records
	At     cloud.Host // where the records stand; "" for no records
	// Refusal is why the authority may not issue; nil: it may.
	Refusal *cloud.OrderFailure
}

// Permission looks up what the CAA records of a host let the authority do, before anything is ordered. The host is one that
// can be proved by DNS. The error says why that is not known.
func (a *ACME) Permission(ctx context.Context, h cloud.Host) (p Permission, err error) {
	client := &acme.Client{Directory: a.Directory, HTTPClient: a.client, UserAgent: a.UserAgent}
	authority, err := client.GetDirectory(ctx)
	switch {
	case err != nil:
		return p, cloud.Errorf(cloud.Unavailable, "the authority at %s does not answer: %w", a.Directory, err)
	case authority.Meta == nil || len(authority.Meta.CAAIdentities) == 0:
		return p, cloud.Errorf(cloud.Unavailable, "the authority at %s does not say what CAA records call it", a.Directory)
	}
	at, records, err := a.CAA(ctx, h)
	if err != nil {
		return p, cloud.Errorf(cloud.Unavailable, "the CAA records cannot be looked up: %w", err)
	}
	known, err := a.storedAccount(ctx, a.Directory)
	if err != nil {
		return p, err
	}
	issuer := cloud.Issuer{Names: authority.Meta.CAAIdentities, Account: known.Location}
	if known.Location == "" && issuer.Permits(records, h).Account {
		return p, cloud.Errorf(cloud.Unavailable, "they name an account, and this cloud gets one with its first certificate")
	}
	w := ways{dns: true}
	if !strings.HasPrefix(string(h), "*.") {
		w.http, w.alpn = a.HTTP, a.ALPN
	}
	p = Permission{Issuer: issuer.Names[0], At: at}
	_, err = w.permitted(issuer, at, records, h)
	if refusal, ok := errors.AsType[*cloud.OrderFailure](err); ok {
		p.Refusal = refusal
	}
	return p, nil
}
