package handler

import (
	"cmp"
	"context"
	"net/netip"
	"net/url"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Provided logs people in by the cloud's OpenID Connect provider. It keeps nothing between two calls: any node may
// take the next one.
type Provided interface {
	// Seal seals the client's secret.
	Seal(secret string) (cloud.Sealed, error)
	// AuthURL returns where a browser logs in, which comes back to redirect with a code.
	AuthURL(ctx context.Context, redirect, state, nonce, challenge, source string) (string, error)
	// Exchange returns the token of a new log-in for the code.
	Exchange(ctx context.Context, redirect, code, verifier, nonce, source string) (text string, t cloud.Token, err error)
	// BeginDevice begins a log-in that is confirmed on another device.
	BeginDevice(ctx context.Context, source string) (api.DeviceLogin, error)
	// Poll returns the token of such a log-in; pending is true while nobody has confirmed it.
	Poll(ctx context.Context, code, source string) (text string, t cloud.Token, pending bool, err error)
}

func (h *Handler) serveOIDC() {
	get(h, operation("oidc", "GET /v1/oidc", "Show the OpenID Connect provider"),
		func(context.Context, *nothing) (api.OIDC, error) {
			p, err := h.Store.State().MustProvider()
			if err != nil {
				return api.OIDC{}, err
			}
			return oidcOf(p), nil
		})
	get(h, operation("set-oidc", "POST /v1/oidc", "Have people log in by an OpenID Connect provider"),
		func(ctx context.Context, in *struct{ Body api.NewOIDC }) (api.OIDC, error) {
			return h.setOIDC(ctx, in.Body)
		})
	get(h, operation("delete-oidc", "DELETE /v1/oidc", "End log-ins by the OpenID Connect provider"),
		func(ctx context.Context, _ *nothing) (api.Changed, error) {
			n := 0
			return h.update(ctx, "delete", "oidc", &n, func(s *cloud.State) ([]cloud.Change, error) { return s.DeleteProvider() })
		})
	get(h, operation("login-browser", "POST /v1/login/browser", "Begin a log-in by a browser"),
		func(ctx context.Context, in *struct{ Body api.BrowserLogin }) (api.BrowserURL, error) {
			b := in.Body
			if err := checkRedirect(b.Redirect); err != nil {
				return api.BrowserURL{}, err
			}
			at, err := h.Provided.AuthURL(ctx, b.Redirect, b.State, b.Nonce, b.Challenge, source(requestOf(ctx).r))
			return api.BrowserURL{URL: at}, err
		})
	get(h, operation("login-browser-finish", "POST /v1/login/browser/finish", "Log in by the code that a browser came back with"),
		func(ctx context.Context, in *struct{ Body api.BrowserCode }) (api.LoggedIn, error) {
			b := in.Body
			if err := checkRedirect(b.Redirect); err != nil {
				return api.LoggedIn{}, err
			}
			text, t, err := h.Provided.Exchange(ctx, b.Redirect, b.Code, b.Verifier, b.Nonce, source(requestOf(ctx).r))
			return api.LoggedIn{User: t.Owner, Token: text, Expires: t.Expires}, err
		})
	get(h, operation("login-device", "POST /v1/login/device", "Begin a log-in that is confirmed on another device"),
		func(ctx context.Context, _ *nothing) (api.DeviceLogin, error) {
			return h.Provided.BeginDevice(ctx, source(requestOf(ctx).r))
		})
	get(h, operation("login-device-finish", "POST /v1/login/device/finish", "Log in, once that was confirmed on another device"),
		func(ctx context.Context, in *struct{ Body api.DeviceCode }) (api.DeviceOutcome, error) {
			text, t, pending, err := h.Provided.Poll(ctx, in.Body.Code, source(requestOf(ctx).r))
			return api.DeviceOutcome{Pending: pending, LoggedIn: api.LoggedIn{User: t.Owner, Token: text, Expires: t.Expires}}, err
		})
}

// checkRedirect refuses to lead a browser anywhere but to the program that has begun the log-in (RFC 8252, section 7.3).
func checkRedirect(redirect string) error {
	u, err := url.Parse(redirect)
	if err == nil && u.Scheme == "http" && u.User == nil && u.Fragment == "" {
		if a, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && a.IsLoopback() {
			return nil
		}
	}
	return cloud.Errorf(cloud.Invalid, "%q is not a loopback address", redirect).WithHint("for example http://127.0.0.1:8765/callback")
}

func oidcOf(p *cloud.Provider) api.OIDC {
	scopes := p.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	return api.OIDC{
		Issuer: p.Issuer, ClientID: p.ClientID, Scopes: scopes, NameClaim: p.NameClaim, GroupsClaim: p.GroupsClaim, CA: p.CA,
		HasSecret: p.Secret != "", Changed: p.Changed.Truncate(time.Second), By: p.By,
	}
}

func (h *Handler) setOIDC(ctx context.Context, in api.NewOIDC) (api.OIDC, error) {
	at, n := h.stamp(ctx), 0
	next := cloud.Provider{
		Issuer: in.Issuer, ClientID: in.ClientID, Scopes: in.Scopes, CA: in.CA,
		NameClaim: cmp.Or(in.NameClaim, "preferred_username"), GroupsClaim: cmp.Or(in.GroupsClaim, "groups"),
	}
	if in.Secret != nil {
		var err error
		if next.Secret, err = h.Provided.Seal(*in.Secret); err != nil {
			return api.OIDC{}, err
		}
	}
	_, err := h.update(ctx, "set", "oidc "+in.Issuer, &n, func(s *cloud.State) ([]cloud.Change, error) {
		p := next
		// A secret is for one provider alone.
		if was, ok := s.Provider(); ok && in.Secret == nil && was.Issuer == p.Issuer && was.ClientID == p.ClientID {
			p.Secret = was.Secret
		}
		return s.SetProvider(p, at)
	})
	if err != nil {
		return api.OIDC{}, err
	}
	p, err := h.Store.State().MustProvider()
	if err != nil {
		return api.OIDC{}, err // it was removed at once
	}
	return oidcOf(p), nil
}
