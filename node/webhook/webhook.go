package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// limit bounds one attempt.
	limit = 10 * time.Second
	// maxAnswer is how many bytes of an answer are read, so that the connection can be used again.
	maxAnswer = 64 << 10
)

// Message is the body of a request to a webhook. Chat servers show its text.
type Message struct {
	ID      string           `json:"id"`
	Time    time.Time        `json:"time"`
	Kind    cloud.NoticeKind `json:"kind"`
	Group   cloud.GroupName  `json:"group"`
	App     cloud.AppName    `json:"app"`
	Release int              `json:"release,omitempty"`
	Host    cloud.Host       `json:"host,omitempty"`
	Path    string           `json:"path,omitempty"`
	By      string           `json:"by"`
	Verdict string           `json:"verdict,omitempty"`
	Text    string           `json:"text"`
}

// Poster sends notices. It follows no redirects.
type Poster struct {
	outside, inside *http.Client
	version         string
}

// NewPoster returns a poster. check returns an error for addresses that only this machine can reach; the poster does not
// connect to these unless a webhook allows it.
func NewPoster(version string, check func(netip.Addr) error) *Poster {
	refuse := func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return check(a.Addr().Unmap())
	}
	return &Poster{outside: newClient(refuse), inside: newClient(nil), version: version}
}

func newClient(control func(network, address string, c syscall.RawConn) error) *http.Client {
	dialer := &net.Dialer{Timeout: limit, Control: control}
	return &http.Client{
		Timeout: limit,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, // no Proxy: it would connect to any address
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Post sends a notice. The header X-Micro-Signature-256 has the HMAC-SHA256 (RFC 2104) of the body by the webhook's
// secret. Any answer but 2xx is an error.
func (p *Poster) Post(ctx context.Context, w *cloud.Webhook, n cloud.Notice) error {
	body, err := json.Marshal(Message{
		ID: n.ID, Time: n.Time.UTC(), Kind: n.Kind, Group: n.App.Group, App: n.App.App, Release: n.Release,
		Host: n.Host, Path: n.Path, By: n.By, Verdict: n.Verdict, Text: n.Text,
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	h := request.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "micro/"+p.version)
	h.Set("X-Micro-Event", string(n.Kind))
	h.Set("X-Micro-Delivery", n.ID)
	h.Set("X-Micro-Signature-256", "sha256="+Sign(w.Secret, body))
	client := p.outside
	if w.Inside {
		client = p.inside
	}
	answer, err := client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("it answered %s", answer.Status)
	}
	return nil
}

// Sign returns the signature of a body in hexadecimal digits.
func Sign(secret string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// withoutURL returns the reason of an error of net/http, which would show the URL: its path may be a password.
func withoutURL(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
