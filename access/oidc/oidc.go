package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/protoduction/micro/cloud"
)

// Person is whom a provider has vouched for.
type Person struct {
	cloud.Identity
	Name   cloud.UserName
	Groups []cloud.Subject
}

// Device is a log-in that a person confirms on another device.
type Device struct {
	Code     string // for Poll
	UserCode string // which the person types
	URL      string // where
	Complete string // the same with the code in it, "" where the provider has none
	Interval time.Duration
	Expires  time.Time
}

// Client speaks to a provider.
type Client struct {
	settings cloud.Provider
	http     *http.Client
	provider *oidc.Provider
	config   oauth2.Config
}

const (
	// timeout is how long one answer of the provider may take.
	timeout = 10 * time.Second
	// maxAnswer is how long one may be, in bytes.
	maxAnswer = 1 << 20
)

// Open asks a provider for its endpoints. secret is that of the settings, opened. The error is Unavailable where the
// provider does not answer.
func Open(ctx context.Context, p cloud.Provider, secret string) (*Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if p.CA != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(p.CA))
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c := &Client{settings: p, http: &http.Client{Transport: bounded{transport}, Timeout: timeout}}
	var err error
	if c.provider, err = oidc.NewProvider(c.with(ctx), p.Issuer); err != nil {
		return nil, c.unavailable(err)
	}
	c.config = oauth2.Config{ClientID: p.ClientID, ClientSecret: secret, Endpoint: c.provider.Endpoint(), Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...)}
	return c, nil
}

// with has the libraries use the client's connections. Keys of the provider are fetched later than ctx may last.
func (c *Client) with(ctx context.Context) context.Context {
	return oidc.ClientContext(context.WithoutCancel(ctx), c.http)
}

// bounded bounds what is read of an answer.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// maxReason is how much of a provider's own words a stranger gets to read, in bytes.
const maxReason = 200

// unavailable says that the provider is to blame.
func (c *Client) unavailable(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return cloud.Errorf(cloud.Unavailable, "the OpenID Connect provider %s does not answer as it should: %s", c.settings.Issuer, text).
		WithHint("micro login USER logs in by password meanwhile")
}

// refused says that the provider does not vouch for the person.
func (c *Client) refused(err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.ErrorCode == "" || answer.Response != nil && answer.Response.StatusCode >= 500 {
		return c.unavailable(err)
	}
	return cloud.Errorf(cloud.Unauthenticated, "the OpenID Connect provider refuses the log-in: %s %s", answer.ErrorCode, answer.ErrorDescription).WithCommand("micro login")
}

// AuthURL returns where a browser logs in. The provider leads it back to redirect, with a code. challenge is the
// SHA-256 of the verifier that Exchange gets.
func (c *Client) AuthURL(redirect, state, nonce, challenge string) string {
	config := c.config
	config.RedirectURL = redirect
	return config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.SetAuthURLParam("code_challenge", challenge), oauth2.SetAuthURLParam("code_challenge_method", "S256"))
}

// Exchange returns who has logged in, for the code that the browser came back with.
func (c *Client) Exchange(ctx context.Context, redirect, code, verifier, nonce string) (Person, error) {
	config := c.config
	config.RedirectURL = redirect
	token, err := config.Exchange(c.with(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Person{}, c.refused(err)
	}
	return c.person(ctx, token, nonce)
}

// Device begins a log-in that is confirmed on another device.
func (c *Client) Device(ctx context.Context) (Device, error) {
	if c.config.Endpoint.DeviceAuthURL == "" {
		return Device{}, cloud.Errorf(cloud.Conflict, "the OpenID Connect provider %s has no log-in by another device", c.settings.Issuer).WithCommand("micro login")
	}
	// The library does not authenticate the client here, which many providers want (RFC 8628, section 3.1).
	var options []oauth2.AuthCodeOption
	if c.config.ClientSecret != "" {
		options = append(options, oauth2.SetAuthURLParam("client_secret", c.config.ClientSecret))
	}
	d, err := c.config.DeviceAuth(c.with(ctx), options...)
	if err != nil {
		return Device{}, c.refused(err)
	}
	interval := time.Duration(d.Interval) * time.Second
	if interval <= 0 {
		interval = 5 * time.Second
	}
	return Device{d.DeviceCode, d.UserCode, d.VerificationURI, d.VerificationURIComplete, interval, d.Expiry}, nil
}

// errPending ends the library's own waiting: the one who logs in asks again.
var errPending = errors.New("the log-in is not confirmed yet")

// once has one answer end the waiting for a confirmation.
type once struct{ http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	var said struct {
		Error string `json:"error"`
	}
	if err == nil && json.Unmarshal(body, &said) == nil && (said.Error == "authorization_pending" || said.Error == "slow_down") {
		return nil, errPending
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// Poll returns who has confirmed a log-in on another device; pending is true while nobody has.
func (c *Client) Poll(ctx context.Context, code string) (p Person, pending bool, err error) {
	asking := *c.http
	asking.Transport = once{c.http.Transport}
	token, err := c.config.DeviceAccessToken(oidc.ClientContext(ctx, &asking), &oauth2.DeviceAuthResponse{DeviceCode: code, Interval: 1})
	switch {
	case errors.Is(err, errPending):
		return p, true, nil
	case err != nil:
		return p, false, c.refused(err)
	}
	p, err = c.person(ctx, token, "")
	return p, false, err
}

// person reads who a token names. nonce is "" for a log-in that has none.
func (c *Client) person(ctx context.Context, token *oauth2.Token, nonce string) (p Person, err error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return p, c.unavailable(errors.New("there is no ID token in its answer"))
	}
	id, err := c.provider.Verifier(&oidc.Config{ClientID: c.config.ClientID}).Verify(c.with(ctx), raw)
	if err != nil {
		return p, cloud.Errorf(cloud.Unauthenticated, "the provider's ID token is not valid: %w", err).WithCommand("micro login")
	}
	if id.Nonce != nonce && nonce != "" {
		return p, cloud.Errorf(cloud.Unauthenticated, "the provider's ID token is of another log-in").WithCommand("micro login")
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return p, c.unavailable(err)
	}
	if claims[c.settings.NameClaim] == nil || claims[c.settings.GroupsClaim] == nil {
		c.addUserInfo(ctx, token, id.Subject, claims)
	}
	p.Identity = cloud.Identity{Issuer: c.settings.Issuer, Subject: id.Subject}
	name, _ := claims[c.settings.NameClaim].(string)
	if c.settings.NameClaim == "email" && claims["email_verified"] == false {
		return p, cloud.Errorf(cloud.Denied, "the provider has not verified the address %s", name).WithHint("confirm it there")
	}
	p.Name = userName(name)
	p.Groups = groupsOf(claims[c.settings.GroupsClaim])
	return p, nil
}

// addUserInfo adds the claims that the provider does not put into ID tokens. That of another person is none.
func (c *Client) addUserInfo(ctx context.Context, token *oauth2.Token, subject string, claims map[string]any) {
	info, err := c.provider.UserInfo(c.with(ctx), oauth2.StaticTokenSource(token))
	more := map[string]any{}
	if err != nil || info.Subject != subject || info.Claims(&more) != nil {
		return // the claims of the ID token must do
	}
	for name, value := range more {
		if _, has := claims[name]; !has {
			claims[name] = value
		}
	}
}
