package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Login asks for a log-in by password.
type Login struct {
	User     cloud.UserName `json:"user" minLength:"1" maxLength:"64"`
	Password string         `json:"password" minLength:"1" maxLength:"1000"`
}

// LoggedIn is a log-in. Its token is shown this once.
type LoggedIn struct {
	User    cloud.UserName `json:"user"`
	Token   string         `json:"token"`
	Expires time.Time      `json:"expires"`
}

// NewToken asks for a token.
type NewToken struct {
	Name       string            `json:"name,omitempty" maxLength:"200" doc:"What it is for"`
	For        cloud.Duration    `json:"for" doc:"How long it is good: at most 2160h, which is 90 days"`
	Role       cloud.Role        `json:"role,omitempty" doc:"At most this role; of a token of nobody it is the token's own"`
	Groups     []cloud.GroupName `json:"groups,omitempty" maxItems:"100" doc:"Missing: all"`
	Apps       []cloud.AppRef    `json:"apps,omitempty" maxItems:"100" doc:"Missing: all"`
	Scopes     []string          `json:"scopes,omitempty" maxItems:"20" doc:"Sets of operations: read, operate, push, deploy, route, crossfade; missing: all operations"`
	Operations []string          `json:"operations,omitempty" maxItems:"100" doc:"Single operations beside those of scopes"`
	MaxShare   int               `json:"max_share,omitempty" minimum:"0" maximum:"100" doc:"Traffic is moved by cross-fades alone, to at most so many percent"`
	MaxTime    cloud.Duration    `json:"max_time,omitempty" doc:"A cross-fade goes back after this time"`
	Verdict    bool              `json:"verdict,omitempty" doc:"Only cross-fades that are judged"`
}

// MadeToken is a new token, which is shown this once.
type MadeToken struct {
	Token string `json:"token" doc:"The secret: it is kept nowhere, and cannot be shown again"`
	TokenInfo
}

// TokenInfo is what is known of a token.
type TokenInfo struct {
	ID      cloud.TokenID  `json:"id"`
	Name    string         `json:"name,omitempty"`
	Owner   cloud.UserName `json:"owner,omitempty" doc:"Whose rights it has; missing: its role is its own"`
	Created time.Time      `json:"created"`
	By      string         `json:"by" doc:"Who made it"`
	Expires time.Time      `json:"expires"`
	Used    *time.Time     `json:"last_used,omitempty" doc:"When this node last saw it, since the node's start"`
	Session bool           `json:"session,omitempty" doc:"It is that of a log-in"`
	cloud.TokenLimits
}

// Login logs in by password.
func (c *Client) Login(ctx context.Context, l Login) (LoggedIn, error) {
	return call[LoggedIn](ctx, c, http.MethodPost, "/v1/login", nil, l)
}

// Logout revokes the token that the client shows.
func (c *Client) Logout(ctx context.Context) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/logout", nil, nil)
}

// Tokens lists the caller's tokens; an admin of the cloud gets all.
func (c *Client) Tokens(ctx context.Context) ([]TokenInfo, error) {
	return all[TokenInfo](ctx, c, "/v1/tokens", nil)
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, t NewToken) (MadeToken, error) {
	return call[MadeToken](ctx, c, http.MethodPost, "/v1/tokens", nil, t)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id cloud.TokenID) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, "/v1/tokens/"+url.PathEscape(string(id)), nil, nil)
}
