package certs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/protoduction/micro/cloud"
)

// transaction follows an order, to be able to say where it failed.
type transaction struct {
	mu    sync.Mutex
	step  cloud.OrderStep
	kinds []string      // of challenges that were tried
	wait  time.Duration // that the authority asked for last
}

func (t *transaction) at(s cloud.OrderStep) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.step = s
}

func (t *transaction) challenge(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.step = cloud.StepChallenge
	t.kinds = append(t.kinds, kind)
}

// watched is the client for an order, whose answers are looked at for Retry-After.
func (a *ACME) watched(t *transaction) *http.Client {
	c := *a.client
	c.Transport = watcher{a.client.Transport, t}
	return &c
}

type watcher struct {
	http.RoundTripper
	t *transaction
}

func (w watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return resp, err
	}
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		w.t.wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		w.t.wait = max(time.Until(at), 0)
	}
	return resp, nil
}

// longestWait bounds what an authority may ask for.
const longestWait = 7 * 24 * time.Hour

// rateLimitWait is the pause after a rate limit of an authority that did not say how long.
const rateLimitWait = time.Hour

func problem(err error) (acme.Problem, bool) { return errors.AsType[acme.Problem](err) }

// failure is why an order failed, for people.
func (t *transaction) failure(err error, directory string) *cloud.OrderFailure {
	if f, ok := errors.AsType[*cloud.OrderFailure](err); ok && f.Step == "" {
		f.Step = cloud.StepChallenge
		return f
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &cloud.OrderFailure{Step: t.step, Reason: err.Error(), Wait: min(t.wait, longestWait)}
	host := directory
	if u, parseErr := url.Parse(directory); parseErr == nil {
		host = u.Host
	}
	p, ok := problem(err)
	switch {
	case !ok && errors.Is(err, context.DeadlineExceeded):
		f.Reason = "no end within the time for an order"
		if f.Step == cloud.StepDirectory {
			f.Reason = host + " does not answer"
		}
	case !ok:
		if failed, is := errors.AsType[*net.OpError](err); is {
			f.Reason = host + " cannot be reached: " + failed.Err.Error()
		} else if failed, is := errors.AsType[*net.DNSError](err); is {
			f.Reason = host + " cannot be reached: " + failed.Error()
		}
		if f.Step == cloud.StepDirectory {
			f.Hint = "the setting acme-directory, and acme-ca where it is a private authority's"
		}
		if strings.HasPrefix(err.Error(), "finalizing") || strings.HasPrefix(err.Error(), "downloading") {
			f.Step = cloud.StepIssue
		}
	default:
		f.Reason = host + " says: " + p.Detail
		for _, sub := range p.Subproblems {
			f.Reason += "; " + sub.Detail
		}
		f.Hint = hints[p.Type]
		switch {
		case p.Type == acme.ProblemTypeRateLimited || p.Status == http.StatusTooManyRequests:
			f.Wait = max(f.Wait, rateLimitWait)
			if t.wait > 0 {
				f.Wait = min(t.wait, longestWait)
			}
		case p.Type == acme.ProblemTypeCAA:
			f.Step = cloud.StepCAA
		case strings.Contains(err.Error(), "finalizing order"), strings.Contains(err.Error(), "downloading certificate"):
			f.Step = cloud.StepIssue
		}
	}
	if f.Step == cloud.StepChallenge && len(t.kinds) > 0 {
		if ok && slices.Equal(slices.Compact(t.kinds), []string{acme.ChallengeTypeDNS01}) {
			f.Hint = "micro domain check, which names the DNS record that is missing"
		}
		f.Reason += " (" + strings.Join(t.kinds, ", ") + ")"
	}
	return f
}

// hints are what to do about a problem of an authority, by its type (RFC 8555, section 6.7).
var hints = map[string]string{
	acme.ProblemTypeDNS:                     "the name's address at its DNS provider is to be this cloud's",
	acme.ProblemTypeConnection:              "the authority must reach ports 80 and 443 of the name's address: firewall, port forwarding, --public-http",
	acme.ProblemTypeUnauthorized:            "something else answers at the name's address: its DNS records, IPv6 too",
	acme.ProblemTypeTLS:                     "something else answers TLS at the name's address",
	acme.ProblemTypeCAA:                     "the CAA records of the domain must name this authority",
	acme.ProblemTypeRateLimited:             "the authority's limit: the next try waits as long as it says",
	acme.ProblemTypeExternalAccountRequired: "the settings acme-eab-kid and acme-eab-key",
	acme.ProblemTypeRejectedIdentifier:      "this authority issues no certificates for the name; a private one, or the setting certs, may help",
	acme.ProblemTypeInvalidContact:          "the setting acme-email",
}

// quiet is the log of the ACME library: what fails is told by who ordered.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug) && q.Handler.Enabled(ctx, l)
}
