package handler

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Callers finds out who is calling by what they show.
type Callers interface {
	// Caller returns who shows a token, and until when it is good. The error is Unauthenticated for any other text.
	Caller(token, source string) (cloud.Actor, time.Time, error)
	// Login returns the token of a new log-in.
	Login(ctx context.Context, user cloud.UserName, password, source string) (text string, t cloud.Token, err error)
	// NewToken returns a new token, its ID, and the hash that is kept of it.
	NewToken() (text string, id cloud.TokenID, hash string)
	// LastUsed returns when a token was last shown, the zero time where that is not known.
	LastUsed(cloud.TokenID) time.Time
}

// caller says who sends a request: the token's owner where one is shown, else whom the kernel names.
func (h *Handler) caller(r *http.Request) (by cloud.Actor, until time.Time, err error) {
	if by, ok := r.Context().Value(forwardedKey{}).(cloud.Actor); ok {
		return by, time.Time{}, nil
	}
	token, shown := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if shown {
		return h.Callers.Caller(strings.TrimSpace(token), source(r))
	}
	if _, ok := r.Context().Value(peerKey{}).(peer); ok {
		by, err = h.actor(r)
		return by, time.Time{}, err
	}
	return cloud.Actor{Name: "unknown", Source: source(r)}, time.Time{},
		cloud.Errorf(cloud.Unauthenticated, "the request shows no token").WithCommand("micro login")
}

type forwardedKey struct{}

// Forwarded returns the context of a request that another node forwards. That node has checked that by is allowed to send
// it, and has written the audit line.
func Forwarded(ctx context.Context, by cloud.Actor) context.Context {
	return context.WithValue(ctx, forwardedKey{}, by)
}

// source is where a request comes from.
func source(r *http.Request) string {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return p.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	return "https " + host
}

// tokenScopes are the sets of operations that a token may be limited to.
var tokenScopes = map[string]func(op string, r rule) bool{
	"read":      func(_ string, r rule) bool { return r.needs == cloud.MayRead },
	"operate":   func(_ string, r rule) bool { return r.needs == cloud.MayRead || r.needs == cloud.MayOperate },
	"push":      func(op string, r rule) bool { return r.needs == cloud.MayRead || op == "push" || r.in == ofPush },
	"deploy":    func(_ string, r rule) bool { return r.needs == cloud.MayRead || r.needs == cloud.MayDeploy },
	"route":     func(op string, r rule) bool { return r.needs == cloud.MayRead || r.in == inHost },
	"crossfade": func(op string, r rule) bool { return r.needs == cloud.MayRead || strings.HasPrefix(op, "crossfade") },
}

// ownOperations are those about the token itself, which no limit keeps it from.
var ownOperations = []string{"whoami", "logout"}

// mayByToken reports an operation that the caller's token is not for.
func (h *Handler) mayByToken(s *cloud.State, by cloud.Actor, op string, r rule) error {
	t, ok := s.Token(by.Token)
	if ok && t.Fade != nil && r.in == inHost && r.needs != cloud.MayRead && !strings.HasPrefix(op, "crossfade") {
		return s.MayMoveTraffic(by)
	}
	if !ok || len(t.Scopes)+len(t.Operations) == 0 || slices.Contains(ownOperations, op) || slices.Contains(t.Operations, op) {
		return nil
	}
	for _, name := range t.Scopes {
		if includes, ok := tokenScopes[name]; ok && includes(op, r) {
			return nil
		}
	}
	return cloud.Errorf(cloud.Denied, "the token is not for the operation %s: it is for %s", op, strings.Join(append(slices.Clone(t.Scopes), t.Operations...), ", "))
}

func (h *Handler) serveTokens() {
	get(h, operation("login", "POST /v1/login", "Log in by password"),
		func(ctx context.Context, in *struct{ Body api.Login }) (api.LoggedIn, error) {
			text, t, err := h.Callers.Login(ctx, in.Body.User, in.Body.Password, source(requestOf(ctx).r))
			return api.LoggedIn{User: t.Owner, Token: text, Expires: t.Expires}, err
		})
	get(h, operation("logout", "POST /v1/logout", "Revoke the token that is shown"),
		func(ctx context.Context, _ *nothing) (api.Changed, error) {
			by, n := requestOf(ctx).actor, 0
			if by.Token == "" {
				return api.Changed{}, cloud.Errorf(cloud.Invalid, "the request shows no token").WithCommand("micro login")
			}
			return h.update(ctx, "logout", "token "+string(by.Token), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.RevokeToken(by.Token, by)
			})
		})
	get(h, operation("tokens", "GET /v1/tokens", "List the caller's tokens; an admin of the cloud gets all"),
		func(ctx context.Context, in *Paging) (api.List[api.TokenInfo], error) {
			s := h.Store.State()
			return page(s.VisibleTokens(requestOf(ctx).actor), *in, func(t *cloud.Token) string { return string(t.ID) }, h.tokenInfo), nil
		})
	get(h, operation("create-token", "POST /v1/tokens", "Make a token, which is shown this once"),
		func(ctx context.Context, in *struct{ Body api.NewToken }) (api.MadeToken, error) {
			return h.createToken(ctx, in.Body)
		})
	get(h, operation("revoke-token", "DELETE /v1/tokens/{id}", "End a token"),
		func(ctx context.Context, in *struct {
			ID cloud.TokenID `path:"id" maxLength:"64"`
		}) (api.Changed, error) {
			by, n := requestOf(ctx).actor, 0
			return h.update(ctx, "revoke", "token "+string(in.ID), &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RevokeToken(in.ID, by) })
		})
}

func (h *Handler) tokenInfo(t *cloud.Token) api.TokenInfo {
	out := api.TokenInfo{
		ID: t.ID, Name: t.Name, Owner: t.Owner, Created: t.Created, By: t.By, Expires: t.Expires, Session: t.Session, TokenLimits: t.TokenLimits,
	}
	if used := h.Callers.LastUsed(t.ID); !used.IsZero() {
		out.Used = &used
	}
	return out
}

func (h *Handler) createToken(ctx context.Context, n api.NewToken) (api.MadeToken, error) {
	for _, name := range n.Scopes {
		if _, ok := tokenScopes[name]; !ok {
			return api.MadeToken{}, cloud.Errorf(cloud.Invalid, "unknown scope %q", name).WithHint("the scopes are read, operate, push, deploy, route and crossfade")
		}
	}
	for _, op := range n.Operations {
		if _, ok := policy[op]; !ok {
			return api.MadeToken{}, cloud.Errorf(cloud.Invalid, "unknown operation %q", op).WithHint("docs/access.md lists them")
		}
	}
	by, at := requestOf(ctx).actor, h.stamp(ctx)
	text, id, hash := h.Callers.NewToken()
	t := cloud.Token{
		ID: id, Hash: hash, Name: n.Name, Expires: at.At.Add(time.Duration(n.For)),
		TokenLimits: cloud.TokenLimits{Role: n.Role, Groups: n.Groups, Apps: n.Apps, Scopes: n.Scopes, Operations: n.Operations},
	}
	for _, subject := range by.Subjects {
		if user, ok := subject.User(); ok {
			t.Owner = user
		}
	}
	if session, ok := h.Store.State().Token(by.Token); ok && t.Owner != "" {
		t.Subjects = session.Subjects
	}
	if n.MaxShare > 0 || n.MaxTime > 0 || n.Verdict {
		t.Fade = &cloud.FadeLimit{Share: n.MaxShare, For: n.MaxTime, Verdict: n.Verdict}
		if n.MaxShare == 0 {
			t.Fade.Share = 100
		}
	}
	var count int
	if _, err := h.update(ctx, "create", "token "+string(id), &count, func(s *cloud.State) ([]cloud.Change, error) { return s.CreateToken(t, by, at) }); err != nil {
		return api.MadeToken{}, err
	}
	made, _ := h.Store.State().Token(id)
	return api.MadeToken{Token: text, TokenInfo: h.tokenInfo(made)}, nil
}
