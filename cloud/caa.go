package cloud

import (
	"slices"
	"strings"
)

// CAARecord says who may issue certificates of a domain (RFC 8659). It stands at the domain's DNS provider.
type CAARecord struct {
	Critical   bool // whoever does not know the tag must not issue
	Tag, Value string
}

// Issuer is a certificate authority, as CAA records name it.
type Issuer struct {
	Names   []string // any of them
	Account string   // URL of the account that orders
}

// CAAVerdict is what CAA records let an Issuer do.
type CAAVerdict struct {
	Issue bool
	// Methods are the kinds of challenges by which the domain may be proved (RFC 8657); nil for any.
	Methods []string
	// What follows says why Issue is false. Others are the issuers that the records name instead, Account says that they name
	// this one for another account, and Unknown is a critical tag that the authority does not know.
	Others  []string
	Account bool
	Unknown string
}

// caaTags are the tags that an authority knows; an unknown one that is critical forbids to issue.
var caaTags = []string{"issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"}

// Permits returns what the CAA records of a host let an authority do. Without records everybody may issue.
func (i Issuer) Permits(records []CAARecord, h Host) (p CAAVerdict) {
	tag := "issue"
	has := func(tag string) bool {
		return slices.ContainsFunc(records, func(r CAARecord) bool { return strings.EqualFold(r.Tag, tag) })
	}
	if strings.HasPrefix(string(h), "*.") && has("issuewild") {
		tag = "issuewild"
	}
	for _, r := range records {
		if r.Critical && !slices.Contains(caaTags, strings.ToLower(r.Tag)) {
			return CAAVerdict{Unknown: r.Tag}
		}
	}
	if !has(tag) {
		return CAAVerdict{Issue: true}
	}
	anyMethod := false
	for _, r := range records {
		if !strings.EqualFold(r.Tag, tag) {
			continue
		}
		name, parameters := parseCAA(r.Value)
		account, bound := parameters["accounturi"]
		methods, limited := parameters["validationmethods"]
		switch {
		case !slices.ContainsFunc(i.Names, func(own string) bool { return strings.EqualFold(own, name) }):
			if name != "" && !slices.Contains(p.Others, name) {
				p.Others = append(p.Others, name)
			}
		case bound && account != i.Account:
			p.Account = true
		case limited:
			p.Issue = true
			for m := range strings.SplitSeq(methods, ",") {
				p.Methods = append(p.Methods, strings.ToLower(strings.TrimSpace(m)))
			}
		default:
			p.Issue, anyMethod = true, true
		}
	}
	if anyMethod {
		p.Methods = nil
	}
	if p.Issue {
		p.Others, p.Account = nil, false
	}
	return p
}

// parseCAA reads `letsencrypt.org; accounturi=URL` (RFC 8659, section 4.2). The name is "" for nobody.
func parseCAA(value string) (name string, parameters map[string]string) {
	name, rest, _ := strings.Cut(value, ";")
	parameters = map[string]string{}
	for one := range strings.SplitSeq(rest, ";") {
		if key, v, ok := strings.Cut(one, "="); ok {
			parameters[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(v)
		}
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), ".")), parameters
}
