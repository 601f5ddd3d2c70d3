package router

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// engine is an instance of an app that speaks engine.io by polling: a session lives in its memory alone.
type engine struct {
	mu       sync.Mutex
	sessions map[string]int // by sid, how many requests it had
	n        int
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sid := r.URL.Query().Get("sid")
	switch _, known := e.sessions[sid]; {
	case sid == "":
		e.n++
		sid = fmt.Sprintf("%p-%d", e, e.n)
		e.sessions[sid] = 0
		_, _ = io.WriteString(w, sid)
	case !known:
		http.Error(w, `{"code":1,"message":"Session ID unknown"}`, http.StatusBadRequest)
	default:
		e.sessions[sid]++
		_, _ = io.WriteString(w, "2")
	}
}

// poller is a client of such an app, with a cookie jar as a browser has it.
type poller struct {
	http.Client
	sid   string
	tries int // handshakes
}

func (p *poller) poll(t *testing.T, addr, method string) bool {
	t.Helper()
	u := &url.URL{Scheme: "http", Host: addr, Path: "/socket.io/", RawQuery: "EIO=4&transport=polling"}
	if p.sid != "" {
		u.RawQuery += "&sid=" + p.sid
	}
	res, err := p.Do(&http.Request{Method: method, URL: u, Host: "www.example.com", Header: http.Header{}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case res.StatusCode == 400:
		p.sid = ""
		return false
	case res.StatusCode != 200:
		t.Fatalf("%d %s", res.StatusCode, b)
	case p.sid == "":
		p.sid = string(b)
		p.tries++
	}
	return true
}

// pollers poll a few times each, and count those whose session was not known.
func poll(t *testing.T, addr string, all []*poller) (lost int) {
	t.Helper()
	for range 4 {
		for _, p := range all {
			for _, method := range []string{"GET", "POST"} {
				if !p.poll(t, addr, method) {
					lost++
				}
			}
		}
	}
	return lost
}

// TestAffinity: sessions in an instance's memory live as long as the instance takes requests, through scale, push and
// cross-fade, on every node.
func TestAffinity(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	node := func(w *world) *front {
		f := newFront(t, Config{PassKey: secret})
		f.compiler.Secret = secret
		if w != nil {
			f.world = w
		}
		return f
	}
	f := node(nil)
	start := func(release int) (cloud.InstanceID, *engine) {
		e := &engine{sessions: map[string]int{}}
		return f.world.up("shop", release, backend(t, e.ServeHTTP)), e
	}
	route := func(targets ...string) {
		vhost := &cloud.VirtualHost{Host: "www.example.com", Group: cloud.DefaultGroup}
		f.world.put(vhost.With(cloud.Route{Path: "/", Sticky: &cloud.Sticky{By: cloud.StickyCookie}, Targets: parseTargets(t, targets)}))
		f.swap()
	}
	f.world.app("shop", 1, 2)
	first, one := start(1)
	_, two := start(1)
	route("shop@r1")
	var all []*poller
	for range 20 {
		jar, _ := cookiejar.New(nil)
		all = append(all, &poller{Client: http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}})
	}
	if lost := poll(t, f.addr, all); lost > 0 {
		t.Fatalf("%d requests of a session reached another instance", lost)
	}
	if len(one.sessions) < 4 || len(two.sessions) < 4 {
		t.Errorf("clients are spread %d to %d", len(one.sessions), len(two.sessions))
	}
	// Scale.
	_, three := start(1)
	f.swap()
	if lost := poll(t, f.addr, all); lost > 0 {
		t.Errorf("scaled up: %d requests were lost", lost)
	}
	// A cross-fade; what is under way stays, and newcomers are led by the shares.
	_, four := start(2)
	route("shop@r1=1", "shop@r2=9")
	if lost := poll(t, f.addr, all); lost > 0 {
		t.Errorf("cross-faded: %d requests were lost", lost)
	}
	// Another node, which has never seen the clients.
	other := node(f.world)
	other.swap()
	if lost := poll(t, other.addr, all); lost > 0 {
		t.Errorf("on another node %d requests were lost", lost)
	}
	// When an instance goes another takes over, once and for all, and nobody else notices.
	f.world.down(first)
	f.swap()
	moved := len(one.sessions)
	if lost := poll(t, f.addr, all); lost != moved {
		t.Errorf("%d sessions were lost with an instance of %d", lost, moved)
	}
	if len(three.sessions) == 0 && len(two.sessions) < 4 {
		t.Error("nobody took over")
	}
	if lost := poll(t, f.addr, all); lost > 0 {
		t.Errorf("%d requests were lost later", lost)
	}
	// The switch is complete: everybody moves, and stays.
	there := 0
	for _, p := range all {
		if _, ok := four.sessions[p.sid]; ok {
			there++
		}
	}
	route("shop@r2")
	if lost := poll(t, f.addr, all); lost != len(all)-there {
		t.Errorf("at the switch %d sessions of %d were lost, of which %d were there already", lost, len(all), there)
	}
}

// TestCookieSaysNothing: a cookie has no address or name, differs from client to client, and works for nobody else and
// under no other secret.
func TestCookieSaysNothing(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	r := New(Config{PassKey: secret})
	e := newEndpoint("shop-r1-1", ref("shop").Release(1), netip.MustParseAddrPort("10.88.0.7:8080"))
	e.tag = tagOf(secret, e)
	made := func(r *Router) string {
		c := &choice{r: r, from: &origin{}, endpoint: e, fields: given{}}
		c.readCookie()
		if !c.cookieDue() {
			t.Fatal("a client without a cookie gets none")
		}
		value, _, _ := strings.Cut(strings.TrimPrefix(string(c.appendCookie(nil)), cookieName+"="), ";")
		return value
	}
	read := func(r *Router, value string) *choice {
		c := &choice{r: r, from: &origin{}, endpoint: e, fields: given{"cookie: " + cookieName + "=" + value}}
		c.readCookie()
		return c
	}
	a, b := made(r), made(r)
	if c := read(r, a); c.bound != e.tag || c.cookieDue() {
		t.Errorf("%s is not read back", a)
	}
	for _, s := range []string{"shop", "10", "r1", fmt.Sprintf("%x", e.tag)} {
		if s != "10" && strings.Contains(a, s) {
			t.Errorf("%s has %q", a, s)
		}
	}
	if a[len(a)-16:] == b[len(b)-16:] {
		t.Error("two clients of an instance have the same token")
	}
	later := []byte(a)
	later[idSize+8] ^= 1 // an earlier or later minute
	for name, v := range map[string]string{
		"somebody else's token": b[:idSize] + a[idSize:], "another time": string(later), "no token": a[:idSize], "nonsense": strings.Repeat("x", cookieSize),
	} {
		if read(r, v).bound == e.tag {
			t.Errorf("%s leads to the instance", name)
		}
	}
	if read(New(Config{PassKey: []byte("another")}), a).bound == e.tag {
		t.Error("the cookie is read with another secret")
	}
}

// TestHeldInstances: clients known by a header keep their instance, and a new one takes no more than its part.
func TestHeldInstances(t *testing.T) {
	p := &Pool{}
	for i := range 4 {
		p.Endpoints = append(p.Endpoints, newEndpoint(cloud.InstanceID(fmt.Sprint("i", i)), ref("shop").Release(1), netip.AddrPort{}))
	}
	const n = 4000
	before, counts := map[uint64]*Endpoint{}, map[*Endpoint]int{}
	for c := range uint64(n) {
		e := p.claimHeld(mix(c), 1, nil)
		before[c] = e
		counts[e]++
	}
	for e, k := range counts {
		if k < n/4*8/10 || k > n/4*12/10 {
			t.Errorf("%s has %d of %d clients", e.ID, k, n)
		}
	}
	added := newEndpoint("new", ref("shop").Release(1), netip.AddrPort{})
	p.Endpoints = append(p.Endpoints, added)
	moved := 0
	for c, e := range before {
		switch p.claimHeld(mix(c), 1, nil) {
		case e:
		case added:
			moved++
		default:
			t.Fatal("a client moved between old instances")
		}
	}
	if moved < n/5*8/10 || moved > n/5*12/10 {
		t.Errorf("the new instance has %d of %d clients", moved, n)
	}
	p.Endpoints[0].drain()
	for c, e := range before {
		if now := p.claimHeld(mix(c), 1, nil); now == p.Endpoints[0] || now != e && e != p.Endpoints[0] && now != added {
			t.Fatal("a client of another instance moved")
		}
	}
}
