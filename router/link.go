package router

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// linkPath begins the path of a link. The link's token follows.
	linkPath = "/.micro/share/"
	// linkCookie keeps the token, so that what the page asks for is answered too.
	linkCookie = "micro_share"
)

// LinkPath returns the path that opens a link: its ID, when it expires, and an HMAC-SHA256 (RFC 2104) over all that
// the link says, by a key that only nodes have. So every node accepts it, and nobody makes one.
func LinkPath(key []byte, l *cloud.Link) string { return linkPath + linkToken(key, l) }

func linkToken(key []byte, l *cloud.Link) string {
	until := strconv.FormatInt(l.Expires.Unix(), 10)
	h := hmac.New(sha256.New, key)
	for _, part := range []string{"micro share link", string(l.ID), string(l.Host), l.Release.String(), until} {
		h.Write(append([]byte(part), 0))
	}
	return string(l.ID) + "." + until + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:24])
}

// link is a cloud.Link in a table.
type link struct {
	token string
	host  string
	until int64 // seconds since 1970
	route *Route
}

// link makes the links anew: there are few, and what they lead to may have changed.
func (j *compilation) links() map[string]*link {
	var made map[string]*link
	for l := range j.now.State.Links() {
		if !j.now.State.Opens(l) || len(j.serving(l.Release)) == 0 {
			continue
		}
		r := j.route(l.Host, cloud.Route{Path: "/", Targets: []cloud.Target{{ReleaseRef: l.Release}}})
		r.turns = &turns{seed: j.Seed}
		if vhost, ok := j.now.State.VirtualHost(l.Host); ok {
			r.tls = newHostTLS(vhost.TLS, nil)
		}
		if made == nil {
			made = map[string]*link{}
		}
		made[string(l.ID)] = &link{linkToken(j.Secret, l), string(l.Host), l.Expires.Unix(), r}
	}
	return made
}

// linkOf returns the link that a token opens at a host, nil for none. Whether it has expired is for the caller to see.
func (t *Table) linkOf(token, host []byte) *link {
	id, _, _ := bytes.Cut(token, []byte("."))
	l, ok := t.links[string(id)]
	if !ok || subtle.ConstantTimeCompare(token, []byte(l.token)) != 1 || string(host) != l.host {
		return nil
	}
	return l
}

func (l *link) expired(now time.Time) bool { return now.Unix() >= l.until }

// opened returns the route of the link that the client has opened at this host, nil for none.
func (c *choice) opened() *Route {
	c.link = nil
	if len(c.table.links) == 0 {
		return nil
	}
	token := c.cookieValue(linkCookie)
	if token == nil {
		return nil
	}
	l := c.table.linkOf(token, hostKey(c.host, &c.key))
	if l == nil || l.expired(time.Now()) {
		return nil
	}
	c.link = l
	return l.route
}

// faultLinkExpired is told to whoever has a link that was good once.
var faultLinkExpired = fault{410, "link_expired", "This link has expired.", 0}

// openLink answers a request for a link with a cookie that opens it, and leads to the page. It tells whether it did:
// a path that is no link's is like any other.
func (x *exchange) openLink() (end ending, done bool) {
	t := x.req.Target
	table := x.c.r.table.Load()
	if len(table.links) == 0 || len(t) < len(linkPath) || string(t[:len(linkPath)]) != linkPath || x.from.denied {
		return 0, false
	}
	var key [maxHostKey + 1]byte
	l := table.linkOf(t[len(linkPath):], hostKey(x.req.Host, &key))
	if l == nil {
		return 0, false
	}
	left := l.until - time.Now().Unix()
	if left <= 0 {
		return x.refuse(faultLinkExpired), true
	}
	x.table, x.limits, x.route, x.link = table, l.route.limits, l.route, l
	if f := l.route.tls.admits(x.from); f.status != 0 {
		return x.refuse(f), true
	}
	if end, done := x.redirect(); done {
		return end, true
	}
	fields := "Location: /\r\nReferrer-Policy: no-referrer\r\nSet-Cookie: " + linkCookie + "=" + l.token +
		"; Path=/; Max-Age=" + strconv.FormatInt(left, 10) + "; HttpOnly; SameSite=Lax"
	if x.from.scheme == "https" {
		fields += "; Secure"
	}
	return x.reply(http.StatusSeeOther, fields+"\r\n", "", ""), true
}
