package access

import (
	"context"
	"sync"
	"time"

	"github.com/protoduction/micro/access/oidc"
	"github.com/protoduction/micro/cloud"
)

// Keys seals secrets for a place, and opens them.
type Keys interface {
	Seal(place string, secret []byte) (cloud.Sealed, error)
	Open(place string, s cloud.Sealed) ([]byte, error)
}

// secretPlace is the place that the provider's client secret is sealed for.
const secretPlace = cloud.ProviderSecretPlace

// maxAsking is how many requests to the provider go on at a time: strangers cause them.
const maxAsking = 8

// provider is the OpenID Connect provider of the cloud.
type provider struct {
	keys   Keys
	asking chan struct{}

	mu     sync.Mutex
	of     *cloud.Provider // what client was opened for
	client *oidc.Client
	until  time.Time // when its endpoints are asked for again
}

// reopenAfter is how long the endpoints of a provider are believed.
const reopenAfter = time.Hour

// Seal seals the client secret of a provider.
func (a *Access) Seal(secret string) (cloud.Sealed, error) {
	if secret == "" {
		return "", nil
	}
	return a.provider.keys.Seal(secretPlace, []byte(secret))
}

// ask calls do with a client of the cloud's provider.
func (a *Access) ask(ctx context.Context, source string, do func(*oidc.Client) error) error {
	if err := a.throttle.check("provider", source, a.now()); err != nil {
		return err
	}
	select {
	case a.provider.asking <- struct{}{}:
		defer func() { <-a.provider.asking }()
	default:
		return cloud.Errorf(cloud.Unavailable, "too many log-ins by the provider at a time").WithHint("try again")
	}
	c, err := a.open(ctx)
	if err == nil {
		err = do(c)
	}
	if code := cloud.CodeOf(err); code == cloud.Unauthenticated || code == cloud.Denied {
		a.throttle.fail("provider", source, a.now())
		a.store.Refused(cloud.Actor{Name: "unknown", Source: source}, "login", "by the provider")
	}
	return err
}

func (a *Access) open(ctx context.Context) (*oidc.Client, error) {
	settings, err := a.store.State().MustProvider()
	if err != nil {
		return nil, err
	}
	p := &a.provider
	p.mu.Lock()
	c, fresh := p.client, p.of == settings && a.now().Before(p.until)
	p.mu.Unlock()
	if fresh {
		return c, nil
	}
	secret := []byte(nil)
	if settings.Secret != "" {
		if secret, err = p.keys.Open(secretPlace, settings.Secret); err != nil {
			return nil, err
		}
	}
	if c, err = oidc.Open(ctx, *settings, string(secret)); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of, p.client, p.until = settings, c, a.now().Add(reopenAfter)
	return c, nil
}

// Provider returns the provider's URL, "" where the cloud has none.
func (a *Access) Provider() string {
	if p, ok := a.store.State().Provider(); ok {
		return p.Issuer
	}
	return ""
}

// AuthURL returns where a browser logs in by the provider.
func (a *Access) AuthURL(ctx context.Context, redirect, state, nonce, challenge, source string) (url string, err error) {
	err = a.ask(ctx, source, func(c *oidc.Client) error {
		url = c.AuthURL(redirect, state, nonce, challenge)
		return nil
	})
	return url, err
}

// Exchange returns the token of a new log-in, for the code that a browser came back with.
func (a *Access) Exchange(ctx context.Context, redirect, code, verifier, nonce, source string) (text string, t cloud.Token, err error) {
	err = a.ask(ctx, source, func(c *oidc.Client) error {
		p, err := c.Exchange(ctx, redirect, code, verifier, nonce)
		if err == nil {
			text, t, err = a.enter(ctx, p, source)
		}
		return err
	})
	return text, t, err
}

// Arrive returns who comes back to a host from the provider, with the person's groups, and notes the log-in.
func (a *Access) Arrive(ctx context.Context, redirect, code, verifier, nonce, host, source string) (user *cloud.User, groups []cloud.Subject, err error) {
	err = a.ask(ctx, source, func(c *oidc.Client) error {
		p, err := c.Exchange(ctx, redirect, code, verifier, nonce)
		if err != nil {
			return err
		}
		p, groups = a.known(p), p.Groups
		at := cloud.Stamp{At: a.now().UTC().Truncate(time.Second), By: string(p.Name)}
		by := cloud.Actor{Name: string(p.Name), Source: source}
		_, err = a.store.Update(ctx, by, "create", "user "+string(p.Name), func(s *cloud.State) (changes []cloud.Change, err error) {
			user, changes, err = s.Admit(p.Name, p.Identity, p.Groups, at)
			return changes, err
		})
		if err == nil {
			err = a.store.Record(ctx, by, "login", "host "+host, "done")
		}
		return err
	})
	return user, groups, err
}

// Device begins a log-in that is confirmed on another device.
func (a *Access) Device(ctx context.Context, source string) (d oidc.Device, err error) {
	err = a.ask(ctx, source, func(c *oidc.Client) error {
		d, err = c.Device(ctx)
		return err
	})
	return d, err
}

// Poll returns the token of a log-in that was confirmed on another device; pending is true while nobody has.
func (a *Access) Poll(ctx context.Context, code, source string) (text string, t cloud.Token, pending bool, err error) {
	err = a.ask(ctx, source, func(c *oidc.Client) error {
		p, waits, err := c.Poll(ctx, code)
		if pending = waits; err == nil && !waits {
			text, t, err = a.enter(ctx, p, source)
		}
		return err
	})
	return text, t, pending, err
}

// known gives a person the name of the user who was admitted before, whatever the provider says since.
func (a *Access) known(p oidc.Person) oidc.Person {
	if u, ok := a.store.State().UserOf(p.Identity); ok {
		p.Name = u.Name
	}
	return p
}

// enter keeps a new log-in of a person whom the provider vouches for.
func (a *Access) enter(ctx context.Context, p oidc.Person, source string) (string, cloud.Token, error) {
	p = a.known(p)
	return a.begin(ctx, p.Groups, source, p.Name, func(s *cloud.State, at cloud.Stamp) (*cloud.User, []cloud.Change, error) {
		return s.Admit(p.Name, p.Identity, p.Groups, at)
	})
}
