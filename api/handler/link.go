package handler

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Links let whoever has one open a release from outside.
type Links interface {
	// URLs returns what opens a link on the public listeners of this node, none where it has none.
	URLs(l *cloud.Link) []string
}

type shareInput struct {
	AppInput
	Body api.Sharing
}

func (in shareInput) scopes(*cloud.State) []cloud.Scope {
	return scopeOf(in.ref().Release(in.Body.Release))
}

// demands of a public host that the release is to be seen at.
func (in shareInput) demands(*cloud.State) []need {
	host, err := cloud.ParseHost(in.Body.Host)
	if in.Body.Host == "" || err != nil {
		return nil
	}
	return []need{{cloud.MayExpose, cloud.Scope{Group: in.Group, Host: host}}}
}

type linkInput struct {
	GroupInput
	ID cloud.LinkID `path:"link" maxLength:"64"`
}

func (in linkInput) scopes(s *cloud.State) []cloud.Scope {
	if l, err := s.Link(in.Group, in.ID); err == nil {
		return scopeOf(l.Release)
	}
	return in.GroupInput.scopes(s)
}

func (h *Handler) serveLinks() {
	get(h, operation("share", "POST /v1/groups/{group}/apps/{app}/links", "Make a link by which a release can be seen from outside"),
		func(ctx context.Context, in *shareInput) (api.SharedLink, error) {
			return h.share(ctx, in)
		})
	get(h, operation("links", "GET /v1/groups/{group}/links", "List the links to releases of a group"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.SharedLink], error) {
			s := h.view(ctx).State
			if err := mustGroup(s, in.Group); err != nil {
				return api.List[api.SharedLink]{}, err
			}
			sees := h.sees(ctx)
			visible := filter(s.Links(), func(l *cloud.Link) bool { return l.Release.Group == in.Group && sees(l.Release.AppRef) })
			return page(visible, in.Paging, func(l *cloud.Link) string { return string(l.ID) }, h.sharedLink), nil
		})
	get(h, operation("unshare", "DELETE /v1/groups/{group}/links/{link}", "Revoke a link"),
		func(ctx context.Context, in *linkInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "unshare", "link "+string(in.ID), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.Unshare(in.Group, in.ID)
			})
		})
}

func (h *Handler) sharedLink(l *cloud.Link) api.SharedLink {
	return api.SharedLink{
		ID: l.ID, Group: l.Release.Group, App: l.Release.App, Release: l.Release.N, Host: l.Host,
		Created: l.Created, By: l.By, Expires: l.Expires, Expired: !h.Now().Before(l.Expires),
	}
}

func (h *Handler) share(ctx context.Context, in *shareInput) (out api.SharedLink, err error) {
	ref, at := in.ref().Release(in.Body.Release), h.stamp(ctx)
	host := cloud.Host("")
	if in.Body.Host != "" {
		if host, err = cloud.ParseHost(in.Body.Host); err != nil {
			return out, err
		}
	}
	id := cloud.LinkID(strings.ToLower(rand.Text()[:10]))
	expires := at.At.Add(time.Duration(in.Body.For)).Truncate(time.Second)
	change := func(s *cloud.State) ([]cloud.Change, error) { return s.Share(ref, host, id, expires, at) }
	// A link that nothing answers must not be made.
	planned, err := change(h.Store.State())
	if err != nil {
		return out, err
	}
	if _, err := h.urlOf(planned[0].Object.(*cloud.Link)); err != nil {
		return out, err
	}
	if _, err := h.update(ctx, "share", ref.String()+": link "+string(id), &ref.N, change); err != nil {
		return out, err
	}
	made, err := h.Store.State().Link(in.Group, id)
	if err != nil {
		return out, err // it was revoked at once
	}
	out = h.sharedLink(made)
	out.URL, err = h.urlOf(made)
	return out, err
}

// urlOf is the URL of a link: by TLS where the host is asked so. There is no certificate of internal names that the
// public trusts.
func (h *Handler) urlOf(l *cloud.Link) (string, error) {
	urls := h.Links.URLs(l)
	_, mapped := h.Store.State().VirtualHost(l.Host)
	byTLS := func(url string) bool { return strings.HasPrefix(url, "https://") }
	switch i := slices.IndexFunc(urls, byTLS); {
	case len(urls) == 0:
		return "", cloud.Errorf(cloud.Conflict, "this node has no public listener").WithCommand("micro up --public-http ADDR")
	case mapped && i >= 0:
		return urls[i], nil
	}
	for _, url := range urls {
		if !byTLS(url) {
			return url, nil
		}
	}
	return "", cloud.Errorf(cloud.Conflict, "the public listener answers by TLS alone, and there is no certificate of %s that the public trusts", l.Host).
		WithHint("micro share %s --host HOST, with a public host of the group", l.Release)
}
