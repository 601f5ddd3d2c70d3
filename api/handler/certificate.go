package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Certificates are what the router answers TLS with.
type Certificates interface {
	// Authority returns the cloud's own authority, which is made where there is none.
	Authority(ctx context.Context) (*cloud.Authority, error)
	// Records are what is known of the certificates that are ordered, by host.
	Records(ctx context.Context) (map[cloud.Host]cloud.CertificateRecord, error)
	// Files are those that somebody else gets, by host; a wildcard stands for one label.
	Files() map[cloud.Host]api.Certificate
	// Orders says whether this node orders certificates of public hosts.
	Orders() bool
}

func (h *Handler) serveCertificates() {
	get(h, operation("authority", "GET /v1/authority", "Show the cloud's own certificate authority, for machines to trust"),
		func(ctx context.Context, _ *nothing) (api.Authority, error) {
			a, err := h.Certificates.Authority(ctx)
			if err != nil {
				return api.Authority{}, err
			}
			sum := sha256.Sum256(a.Certificate)
			return api.Authority{
				Domain: a.Domain, Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate})),
				Fingerprint: hex.EncodeToString(sum[:]), Expires: a.Expires,
			}, nil
		})
	get(h, operation("certificates", "GET /v1/groups/{group}/certificates", "List certificates: that of the cloud's own authority, and those of the group's public hosts"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.Certificate], error) {
			v := h.view(ctx)
			if err := mustGroup(v.State, in.Group); err != nil {
				return api.List[api.Certificate]{}, err
			}
			list, err := h.certificates(ctx, v.State, in.Group)
			if err != nil {
				return api.List[api.Certificate]{}, err
			}
			return page(slices.Values(list), in.Paging, func(c api.Certificate) string { return c.Name }, func(c api.Certificate) api.Certificate { return c }), nil
		})
}

func (h *Handler) certificates(ctx context.Context, s *cloud.State, g cloud.GroupName) ([]api.Certificate, error) {
	a, err := h.Certificates.Authority(ctx)
	if err != nil {
		return nil, err
	}
	records, err := h.Certificates.Records(ctx)
	if err != nil {
		return nil, err
	}
	files, now := h.Certificates.Files(), h.Now()
	list := []api.Certificate{{
		Name: "*." + string(a.Domain), Source: api.FromAuthority, Status: api.OK, Issuer: "the cloud's own authority", Expires: &a.Expires,
		Text: "made for each name when a client asks for it, for machines that trust the authority", Hint: "micro trust install",
	}}
	for v := range s.VirtualHosts() {
		if v.Group != g || !v.WantsCertificate() {
			continue
		}
		if c, ok := standsFor(files, v.Host); ok {
			c.Name = string(v.Host)
			list = append(list, c)
			continue
		}
		if c, ok := certificate(s, v.Host, records, h.Certificates.Orders(), now); ok {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b api.Certificate) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// AllCertificates lists the certificates of all groups' public hosts.
func (h *Handler) AllCertificates(ctx context.Context) (list []api.Certificate, err error) {
	s := h.Store.State()
	for g := range s.Groups() {
		of, err := h.certificates(ctx, s, g.Name)
		if err != nil {
			return nil, err
		}
		for _, c := range of {
			if c.Source != api.FromAuthority {
				list = append(list, c)
			}
		}
	}
	return list, nil
}

// standsFor finds what a host has, or the wildcard that stands for it.
func standsFor[T any](byHost map[cloud.Host]T, h cloud.Host) (T, bool) {
	c, ok := byHost[h]
	if _, parent, dot := strings.Cut(string(h), "."); !ok && dot {
		c, ok = byHost[cloud.Host("*."+parent)]
	}
	return c, ok
}

// recordFor finds the record of what a host is answered with: its own or, where that lasts longer, the wildcard's.
func recordFor(records map[cloud.Host]cloud.CertificateRecord, h cloud.Host) (cloud.CertificateRecord, bool) {
	own, ok := records[h]
	if _, parent, dot := strings.Cut(string(h), "."); dot {
		if wildcard, covered := records[cloud.Host("*."+parent)]; covered && (!ok || wildcard.Expires.After(own.Expires)) {
			return wildcard, true
		}
	}
	return own, ok
}

// certificate shows that of a public host; false where none is to be ordered and none is there.
func certificate(s *cloud.State, h cloud.Host, records map[cloud.Host]cloud.CertificateRecord, orders bool, now time.Time) (api.Certificate, bool) {
	c := api.Certificate{Name: string(h), Source: api.FromACME, Status: api.OK}
	if err := s.Orderable(h); err != nil {
		c.Status, c.Text = api.Fail, "no authority is asked: "+err.Error()
		c.Hint = "the setting certs, for a certificate that somebody else gets"
		return c, orders
	}
	r, known := recordFor(records, h)
	if !known {
		c.Status, c.Text = api.Warn, "being ordered"
		if domain, wildcard := strings.CutPrefix(string(h), "*."); wildcard {
			if _, ok := s.DomainOf(h); !ok {
				c.Status, c.Text = api.Fail, "a wildcard is proved by DNS, and the domain was not added"
				c.Hint = "micro domain add " + domain
			}
		}
		return c, orders
	}
	if r.Host != h && r.Expires.IsZero() {
		c.Status, c.Text = api.Warn, "being ordered, as that of "+string(r.Host)+" is not to be had"
		return c, orders
	}
	c.Issuer = r.Issuer
	if !r.Expires.IsZero() {
		c.Expires = &r.Expires
	}
	if !r.Tried.IsZero() {
		c.Tried = &r.Tried
	}
	if due := r.Due(); orders && !due.IsZero() {
		c.Next = &due
	}
	left := r.Expires.Sub(now)
	switch {
	case r.Expires.IsZero():
		c.Status, c.Text = api.Fail, "none yet"
	case left <= 0:
		c.Status, c.Text = api.Fail, "it has ended: clients refuse it"
	case r.Failed != nil && left < r.Expires.Sub(r.From)/3:
		c.Status, c.Text = api.Warn, "it is served, and the next one is not to be had yet"
	default:
		c.Text = "it is served"
	}
	if r.Host != h {
		c.Text += ", as " + string(r.Host)
	}
	if f := r.Failed; f != nil {
		c.Step, c.Error, c.Hint = string(f.Step), f.Reason, f.Hint
		c.Text += fmt.Sprintf("; the last order failed at the step %s", f.Step)
	}
	return c, true
}
