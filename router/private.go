package router

import (
	"bytes"
	"sync"
	"time"
)

// isPrivate reports whether a cookie is between the client and the router alone: an app that had it could open what
// it opens.
func isPrivate(pair []byte) bool {
	name, _, _ := bytes.Cut(pair, []byte("="))
	return string(name) == linkCookie || string(name) == loginCookie
}

// ownCookies begins the names of the router's cookies.
var ownCookies = []byte("micro_")

// mayBePrivate reports whether a Cookie field may have a private cookie. It is asked of every request with cookies.
func mayBePrivate(value []byte) bool { return bytes.Contains(value, ownCookies) }

// appendCookies adds a Cookie field without the private cookies, and nothing where no other cookie is in it.
func appendCookies(b, name, value []byte) []byte {
	start, first := len(b), true
	b = append(append(b, name...), ": "...)
	for rest := value; len(rest) > 0; {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte(";"))
		if pair = bytes.TrimSpace(pair); len(pair) == 0 || isPrivate(pair) {
			continue
		}
		if !first {
			b = append(b, "; "...)
		}
		b, first = append(b, pair...), false
	}
	if first {
		return b[:start]
	}
	return append(b, "\r\n"...)
}

// permits watches the exchanges that a link or a log-in allows, and ends those whose permit has ended: an answer
// or a WebSocket may last for hours. Its goroutine runs while there are any.
type permits struct {
	mu      sync.Mutex
	all     map[*exchange]permit
	running bool
}

// permit is what an exchange is allowed by.
type permit struct {
	c     *conn
	valid func(*Table, time.Time) bool
}

// permitEvery is how often permits are looked at: what is revoked ends within a second.
const permitEvery = 500 * time.Millisecond

// add watches an exchange until remove.
func (p *permits) add(r *Router, x *exchange, valid func(*Table, time.Time) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[*exchange]permit{}
	}
	p.all[x] = permit{x.c, valid}
	if !p.running {
		p.running = true
		go p.watch(r)
	}
}

func (p *permits) remove(x *exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, x)
}

func (p *permits) watch(r *Router) {
	tick := time.NewTicker(permitEvery)
	defer tick.Stop()
	for range tick.C {
		if p.check(r.table.Load(), time.Now()) == 0 {
			return
		}
	}
}

// check ends the exchanges that are no longer allowed, and returns how many are watched on.
func (p *permits) check(t *Table, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x, one := range p.all {
		if !one.valid(t, now) {
			delete(p.all, x)
			one.c.kill()
		}
	}
	p.running = len(p.all) > 0
	return len(p.all)
}

// watchPermit has the exchange end once what allows it has ended. It costs nothing where nothing special does.
func (x *exchange) watchPermit() {
	switch {
	case x.link != nil:
		token, host := []byte(x.link.token), []byte(x.link.host)
		x.permitted = true
		x.c.r.permits.add(x.c.r, x, func(t *Table, now time.Time) bool {
			l := t.linkOf(token, host)
			return l != nil && !l.expired(now)
		})
	case x.user != "":
		value, host, l := string(x.cookieValue(loginCookie)), x.hostName(), x.route.login
		x.permitted = true
		x.c.r.permits.add(x.c.r, x, func(t *Table, now time.Time) bool {
			_, ok := t.visitor(x.c.r.passKey, []byte(value), host, l, now)
			return ok
		})
	}
}
