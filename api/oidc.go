package api

import (
	"context"
	"net/http"
	"time"

	"github.com/protoduction/micro/cloud"
)

// OIDC is the OpenID Connect provider by which people log in.
type OIDC struct {
	Issuer      string    `json:"issuer" minLength:"1" maxLength:"500" doc:"Its URL"`
	ClientID    string    `json:"client_id" minLength:"1" maxLength:"500"`
	Scopes      []string  `json:"scopes" nullable:"false" maxItems:"20" doc:"Asked for beside openid"`
	NameClaim   string    `json:"name_claim" maxLength:"100" doc:"The claim that has a person's user name"`
	GroupsClaim string    `json:"groups_claim" maxLength:"100" doc:"The claim that has a person's groups, which roles are granted to as oidc:GROUP"`
	CA          string    `json:"ca,omitempty" maxLength:"200000" doc:"Authorities in PEM that vouch for it; missing: those of the system"`
	HasSecret   bool      `json:"has_secret,omitempty" readOnly:"true" doc:"micro has a secret for it"`
	Changed     time.Time `json:"set,omitzero" readOnly:"true"`
	By          string    `json:"by,omitempty" readOnly:"true"`
}

// NewOIDC sets the provider.
type NewOIDC struct {
	OIDC
	Secret *string `json:"client_secret,omitempty" maxLength:"2000" doc:"Missing: as it is; empty: a public client"`
}

// BrowserLogin begins a log-in by a browser. Who begins it keeps verifier, state and nonce.
type BrowserLogin struct {
	Redirect  string `json:"redirect" minLength:"1" maxLength:"500" doc:"Where the provider leads the browser back to: http on a loopback address"`
	State     string `json:"state" minLength:"16" maxLength:"200" doc:"Comes back with the code"`
	Nonce     string `json:"nonce" minLength:"16" maxLength:"200" doc:"Is in the provider's ID token"`
	Challenge string `json:"challenge" minLength:"43" maxLength:"128" doc:"The SHA-256 of the verifier (RFC 7636, S256)"`
}

// BrowserURL is where a browser logs in.
type BrowserURL struct {
	URL string `json:"url"`
}

// BrowserCode ends a log-in by a browser.
type BrowserCode struct {
	Redirect string `json:"redirect" minLength:"1" maxLength:"500"`
	Code     string `json:"code" minLength:"1" maxLength:"4000" doc:"That the browser came back with"`
	Verifier string `json:"verifier" minLength:"43" maxLength:"128"`
	Nonce    string `json:"nonce" minLength:"16" maxLength:"200"`
}

// DeviceLogin is a log-in that is confirmed on another device.
type DeviceLogin struct {
	Code     string         `json:"device_code"`
	UserCode string         `json:"user_code" doc:"To be typed at url"`
	URL      string         `json:"url"`
	Complete string         `json:"complete_url,omitempty" doc:"The same with the code in it"`
	Interval cloud.Duration `json:"interval" doc:"How long to wait between two questions"`
	Expires  time.Time      `json:"expires"`
}

// DeviceCode asks whether a log-in was confirmed.
type DeviceCode struct {
	Code string `json:"device_code" minLength:"1" maxLength:"4000"`
}

// DeviceOutcome is what became of a log-in on another device.
type DeviceOutcome struct {
	Pending bool `json:"pending,omitempty" doc:"Nobody has confirmed it yet"`
	LoggedIn
}

// OIDC shows the provider.
func (c *Client) OIDC(ctx context.Context) (OIDC, error) {
	return call[OIDC](ctx, c, http.MethodGet, "/v1/oidc", nil, nil)
}

// SetOIDC sets the provider.
func (c *Client) SetOIDC(ctx context.Context, p NewOIDC) (OIDC, error) {
	return call[OIDC](ctx, c, http.MethodPost, "/v1/oidc", nil, p)
}

// DeleteOIDC ends log-ins by the provider.
func (c *Client) DeleteOIDC(ctx context.Context) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, "/v1/oidc", nil, nil)
}

// BeginBrowser begins a log-in by a browser.
func (c *Client) BeginBrowser(ctx context.Context, l BrowserLogin) (BrowserURL, error) {
	return call[BrowserURL](ctx, c, http.MethodPost, "/v1/login/browser", nil, l)
}

// FinishBrowser ends a log-in by a browser.
func (c *Client) FinishBrowser(ctx context.Context, l BrowserCode) (LoggedIn, error) {
	return call[LoggedIn](ctx, c, http.MethodPost, "/v1/login/browser/finish", nil, l)
}

// BeginDevice begins a log-in that is confirmed on another device.
func (c *Client) BeginDevice(ctx context.Context) (DeviceLogin, error) {
	return call[DeviceLogin](ctx, c, http.MethodPost, "/v1/login/device", nil, nil)
}

// FinishDevice asks whether such a log-in was confirmed.
func (c *Client) FinishDevice(ctx context.Context, code string) (DeviceOutcome, error) {
	return call[DeviceOutcome](ctx, c, http.MethodPost, "/v1/login/device/finish", nil, DeviceCode{code})
}
