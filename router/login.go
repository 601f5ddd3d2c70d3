package router

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

const (
	// loginPath is where a host that requires a log-in asks for it.
	loginPath = "/.micro/login"
	// loginCookie keeps who has logged in.
	loginCookie = "micro_login"
	// codeLogin is what X-Micro-Error says to who has not.
	codeLogin = "login_required"
)

// Visit is what the cookie of a log-in says: who has logged in to which host.
type Visit struct {
	User    cloud.UserName  `json:"u"`
	Groups  []cloud.Subject `json:"g,omitempty"` // that the user's provider has named
	Host    string          `json:"h"`
	Expires int64           `json:"e"` // seconds since 1970
}

// Cookie returns the cookie's value, signed with HMAC-SHA256 (RFC 2104) by a key that only nodes have. The user's
// password, or identity at a provider, is in the signature: another one ends all log-ins.
func (v Visit) Cookie(key []byte, u *cloud.User) string {
	said, err := json.Marshal(v)
	if err != nil {
		panic(err) // impossible: it is text and a number
	}
	text := base64.RawURLEncoding.EncodeToString(said)
	return text + "." + signVisit(key, text, u)
}

func signVisit(key []byte, said string, u *cloud.User) string {
	h := hmac.New(sha256.New, key)
	identity := cloud.Identity{}
	if u.Identity != nil {
		identity = *u.Identity
	}
	for _, part := range []string{"micro log-in", said, string(u.Name), u.Password, identity.Issuer, identity.Subject} {
		h.Write(append([]byte(part), 0))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// LoginCookie is the name of the cookie.
func LoginCookie() string { return loginCookie }

// LoginPath is where a host that requires a log-in asks for it.
func LoginPath() string { return loginPath }

// login is a host's wish that people log in.
type login struct{ cloud.HostLogin }

// requireLogin has all routes of a host ask for a log-in, and adds the one that people log in by.
func (j *compilation) requireLogin(made *vhost, s *cloud.VirtualHost) {
	if s.Login == nil {
		return
	}
	l := &login{*s.Login}
	for _, r := range made.routes {
		r.login = l
	}
	if j.Portal == nil {
		return
	}
	made.routes[loginPath] = &Route{
		Host: string(s.Host), Path: loginPath, tls: made.tls, turns: &turns{}, limits: j.limits, portal: true,
		shares: []share{{1, &Pool{Endpoints: []*Endpoint{j.portal()}}}}, plan: plan{total: 1, stride: 1},
	}
	made.longest = max(made.longest, len(loginPath))
}

// portal returns the endpoint of the page that people log in by. It is of no release: its requests are counted for
// nobody.
func (j *compilation) portal() *Endpoint {
	const id = "portal"
	e, ok := j.endpoints.next.lookup(id)
	if !ok {
		e = newEndpoint(id, cloud.ReleaseRef{}, netip.AddrPort{})
		e.dial = j.Portal
		j.endpoints.set(id, e)
	}
	return e
}

// visitor returns who the cookie of a log-in says has logged in to a host, and whether that one may see it now.
func (t *Table) visitor(key, cookie []byte, host string, l *login, now time.Time) (v Visit, ok bool) {
	text, signature, _ := bytes.Cut(cookie, []byte("."))
	if len(key) == 0 || len(cookie) > 4096 {
		return v, false
	}
	said, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil || json.Unmarshal(said, &v) != nil {
		return Visit{}, false
	}
	u, ok := t.view.State.User(v.User)
	if !ok || !hmac.Equal(signature, []byte(signVisit(key, string(text), u))) || v.Host != host || now.Unix() >= v.Expires {
		return Visit{}, false
	}
	return v, t.view.State.Visits(v.User, v.Groups, &l.HostLogin)
}

// Faults of a host that requires a log-in.
var (
	faultLogin   = fault{401, codeLogin, "This address is for people who have logged in.", 0}
	faultVisitor = fault{403, "not_allowed", "You have logged in, and have no role in the group that this address is for. " + loginPath + " asks for another log-in.", 0}
)

// authenticate finds out who has logged in, where the host wants that, and tells whether it has answered because
// nobody has: with the way to the page for a browser, with 401 for all others.
func (x *exchange) authenticate() (end ending, done bool) {
	l := x.route.login
	if l == nil {
		return 0, false
	}
	v, ok := x.table.visitor(x.c.r.passKey, x.cookieValue(loginCookie), x.hostName(), l, time.Now())
	switch {
	case ok:
		x.user = string(v.User)
		return 0, false
	case v.User != "":
		return x.refuse(faultVisitor), true
	case !x.asksForPage():
		return x.refuse(faultLogin), true
	}
	location := loginPath + "?to=" + url.QueryEscape(string(x.req.Target))
	return x.reply(http.StatusSeeOther, "Location: "+location+"\r\n", codeLogin, ""), true
}

// hostName is the host that was asked for, without port and trailing dot, in lower case.
func (x *exchange) hostName() string {
	var key [maxHostKey + 1]byte
	return string(hostKey(x.req.Host, &key))
}

// asksForPage reports whether a person's browser asks for a page, and can be led to another.
func (x *exchange) asksForPage() bool {
	q := &x.req
	return (string(q.Method) == "GET" || string(q.Method) == "HEAD") && !q.Upgrade && len(q.Target) > 0 && q.Target[0] == '/' &&
		len(q.Target) < 2000 && bytes.Contains(q.Get(h1.Accept), []byte("text/html"))
}
