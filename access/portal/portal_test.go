package portal

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

type callers struct{ seen []string }

func (c *callers) Visit(_ context.Context, name cloud.UserName, password, host, source string) (*cloud.User, error) {
	c.seen = append(c.seen, fmt.Sprintf("%s at %s from %s", name, host, source))
	switch {
	case name == "slow":
		return nil, cloud.Errorf(cloud.Unavailable, "too many log-ins of slow failed").WithHint("try again in 2s")
	case password != "right":
		return nil, cloud.Errorf(cloud.Unauthenticated, "the user name or the password is wrong")
	}
	return &cloud.User{Name: name}, nil
}

// noProvider is a cloud without a provider.
type noProvider struct{ Provided }

func (noProvider) Provider() string { return "" }

func newPortal() (*Portal, *callers) {
	c := &callers{}
	return New(Config{Callers: c, Provided: noProvider{}, Path: "/.micro/login", Cookie: "micro_login", Now: func() time.Time { return time.Unix(1000, 0) },
		Sign: func(u *cloud.User, _ []cloud.Subject, host string, until time.Time) string {
			return fmt.Sprintf("%s-%s-%d", u.Name, host, until.Unix())
		}}), c
}

func post(p *Portal, path string, form url.Values, header ...string) (*http.Response, string) {
	r := httptest.NewRequest(http.MethodPost, "http://WWW.example.com.:8000"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Add("X-Micro-Client", "192.0.2.99")
	r.Header.Add("X-Micro-Client", "192.0.2.1")
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	return w.Result(), string(body)
}

func TestLogin(t *testing.T) {
	p, c := newPortal()
	res, _ := post(p, p.Path, url.Values{"user": {"anna"}, "password": {"right"}, "to": {"/a?b=c"}}, "X-Forwarded-Proto: https", "Origin: https://www.EXAMPLE.com.:8000", "Sec-Fetch-Site: same-origin")
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/a?b=c" || len(res.Cookies()) != 1 {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	k := res.Cookies()[0]
	if k.Value != "anna-www.example.com-44200" || !k.HttpOnly || !k.Secure || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.MaxAge != 43200 {
		t.Errorf("the cookie: %+v", k)
	}
	if res, _ := post(p, p.Path, url.Values{"user": {"anna"}, "password": {"right"}}); res.Cookies()[0].Secure {
		t.Error("the cookie of a host without TLS is never sent back")
	}
	if c.seen[0] != "anna at www.example.com from web 192.0.2.1" {
		t.Errorf("noted: %q", c.seen)
	}
	res, body := post(p, p.Path, url.Values{"user": {"anna"}, "password": {"hunter2hunter2"}, "to": {`/"><script>`}})
	if res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) != 0 || !strings.Contains(body, "The user name or the password is wrong.") ||
		strings.Contains(body, "hunter2") || strings.Contains(body, "<script>") || !strings.Contains(body, `value="anna"`) {
		t.Errorf("a wrong password: %d %s", res.StatusCode, body)
	}
	if res, body := post(p, p.Path, url.Values{"user": {"hunter2 hunter2"}, "password": {""}}); res.StatusCode != 401 || strings.Contains(body, "hunter2") {
		t.Errorf("a password in the place of the name: %d %s", res.StatusCode, body)
	}
	if res, body := post(p, p.Path, url.Values{"user": {"slow"}}); res.StatusCode != 503 || !strings.Contains(body, "try again in 2s") {
		t.Errorf("too many: %d %s", res.StatusCode, body)
	}
	if res, _ := post(p, p.Path+"/out", nil); res.StatusCode != 303 || res.Cookies()[0].MaxAge >= 0 {
		t.Errorf("log-out: %v", res.Header)
	}
}

// A form of another site's page logs nobody in: whoever follows it would be somebody else without knowing.
func TestFormsOfOtherSites(t *testing.T) {
	p, c := newPortal()
	for _, header := range []string{"Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://www.example.com.:8000.evil.example"} {
		if res, _ := post(p, p.Path, url.Values{"user": {"anna"}, "password": {"right"}}, header); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", header, res.StatusCode)
		}
	}
	if len(c.seen) > 0 {
		t.Errorf("passwords were checked: %q", c.seen)
	}
	if res, _ := post(p, p.Path, url.Values{"user": {strings.Repeat("a", maxForm)}, "password": {"right"}}); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a long form: %d", res.StatusCode)
	}
}

func TestWayBack(t *testing.T) {
	for to, want := range map[string]string{
		"/": "/", "/a/b?c=d#e": "/a/b?c=d#e", "": "/", "//evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "https://evil.example": "/",
		"/\tx": "/", "/a\r\nSet-Cookie: x": "/", "a": "/", "/.micro/login?to=/": "/", "/.micro/login/out": "/",
	} {
		if got := wayBack(to, "/.micro/login"); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}
