package router

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

var linkKey = []byte("a key of the node's")

// shared is a front with an app, whose staged release 2 a link opens, and a public host that leads to release 1.
func shared(t *testing.T, host cloud.Host) (*front, *cloud.Link) {
	f := newFront(t, Config{PassKey: linkKey})
	f.compiler.Secret = linkKey
	f.world.app("shop", 1, 2)
	for n := 1; n <= 2; n++ {
		f.world.up("shop", n, backend(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, strings.Repeat("r", n)+" "+r.URL.Path+" "+r.Header.Get("Cookie"))
		}))
	}
	f.world.vhost(t, "www.example.com", cloud.ExposedPublic, map[string][]string{"/": {"shop"}})
	l := &cloud.Link{ID: "abc", Release: ref("shop").Release(2), Host: host, Expires: time.Now().Add(time.Hour)}
	f.world.put(l)
	f.swap()
	return f, l
}

func ownHost(f *front, n int) cloud.Host {
	rel, _ := f.world.view.State.Release(ref("shop").Release(n))
	return cloud.Domain("micro.test").Release(rel.ReleaseRef, rel.Created)
}

// A link opens one release at one host of the public listener, by a cookie that the app does not get.
func TestLinkOpensOneRelease(t *testing.T) {
	f, l := shared(t, "")
	l.Host = ownHost(f, 2)
	f.world.put(l)
	f.swap()
	p := dial(t, f.public)
	ask := func(path string, host cloud.Host, fields ...string) (int, string, *http.Response) {
		t.Helper()
		res, body := p.send(get(path, string(host), fields...)).answer("GET")
		return res.StatusCode, body, res
	}
	if status, _, _ := ask("/", l.Host); status != 404 {
		t.Fatalf("without the link: %d", status)
	}
	status, _, res := ask(LinkPath(linkKey, l), l.Host)
	if status != 303 || res.Header.Get("Location") != "/" || res.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Fatalf("the link: %d %v", status, res.Header)
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge < 3590 || c.MaxAge > 3600 || c.Path != "/" {
		t.Errorf("the cookie: %+v", c)
	}
	cookie := "Cookie: a=1; " + c.Name + "=" + c.Value + "; b=2"
	if status, body, _ := ask("/assets/site.css", l.Host, cookie); status != 200 || body != "rr /assets/site.css a=1; b=2" {
		t.Errorf("an asset: %d %q", status, body)
	}
	if status, body, _ := ask("/", l.Host, "Cookie: "+c.Name+"="+c.Value); status != 200 || body != "rr / " {
		t.Errorf("no other cookie: %d %q", status, body)
	}
	// Nothing else becomes reachable.
	for _, other := range []cloud.Host{ownHost(f, 1), "shop.micro.test", "micro.test", "SHOP.micro.test.", "other.test"} {
		if status, _, _ := ask("/", other, cookie); status != 404 {
			t.Errorf("%s: %d", other, status)
		}
		if status, _, _ := ask(LinkPath(linkKey, l), other); status != 404 {
			t.Errorf("the link at %s: %d", other, status)
		}
	}
	if _, body, _ := ask("/", "www.example.com", cookie); !strings.HasPrefix(body, "r ") {
		t.Errorf("the public host: %q", body)
	}
	forged := *l
	forged.Release.N = 1
	for name, path := range map[string]string{
		"another key": LinkPath([]byte("x"), l), "another release": LinkPath(linkKey, &forged), "cut off": strings.TrimSuffix(LinkPath(linkKey, l), "="),
		"empty": linkPath, "an ID alone": linkPath + "abc", "a longer one": LinkPath(linkKey, l) + "x",
	} {
		if name == "cut off" {
			path = path[:len(path)-1]
		}
		if status, _, _ := ask(path, l.Host); status != 404 {
			t.Errorf("%s: %d", name, status)
		}
	}
	// Revoked.
	f.world.delete(l)
	f.swap()
	if status, _, _ := ask("/", l.Host, cookie); status != 404 {
		t.Errorf("revoked: %d", status)
	}
}

// A link at a public host leads who has opened it, and nobody else, to its release. It opens nothing once the host is
// another group's, internal or given up.
func TestLinkAtPublicHost(t *testing.T) {
	f, l := shared(t, "www.example.com")
	p := dial(t, f.public)
	cookie := "Cookie: " + linkCookie + "=" + linkToken(linkKey, l)
	ask := func(fields ...string) string {
		_, body := p.send(get("/", "www.example.com", fields...)).answer("GET")
		return strings.TrimSpace(body)
	}
	if with, without := ask(cookie), ask(); with != "rr /" || without != "r /" {
		t.Errorf("with the link %q, without %q", with, without)
	}
	x := f.seen.next(t)
	if x.RouteHost != "" || x.Release.N != 2 {
		t.Errorf("a request by a link counts for the route of %q, release %s", x.RouteHost, x.Release)
	}
	vhost, _ := f.world.view.State.VirtualHost("www.example.com")
	other := *vhost
	other.Group = "team"
	f.world.put(&other)
	f.swap()
	if got := ask(cookie); got != "r /" {
		t.Errorf("at a host of another group: %q", got)
	}
	f.world.delete(vhost)
	f.swap()
	if res, _ := p.send(get("/", "www.example.com", cookie)).answer("GET"); res.StatusCode != 404 {
		t.Errorf("at a host that was given up: %d", res.StatusCode)
	}
}

// An expired link opens nothing, and says why.
func TestLinkExpires(t *testing.T) {
	f, l := shared(t, "www.example.com")
	expired := *l
	expired.Expires = time.Now().Add(-time.Second)
	f.world.put(&expired)
	f.swap()
	p := dial(t, f.public)
	if res, body := p.send(get(LinkPath(linkKey, &expired), "www.example.com")).answer("GET"); res.StatusCode != 410 || !strings.Contains(body, "link_expired") {
		t.Errorf("the link: %d %s", res.StatusCode, body)
	}
	if _, body := p.send(get("/", "www.example.com", "Cookie: "+linkCookie+"="+linkToken(linkKey, &expired))).answer("GET"); !strings.HasPrefix(body, "r ") {
		t.Errorf("its cookie: %q", body)
	}
}

// What goes on by a link ends within a second once the link is revoked, or expires.
func TestLinkEndsWhatGoesOn(t *testing.T) {
	for name, end := range map[string]func(f *front, l *cloud.Link){
		"revoked": func(f *front, l *cloud.Link) { f.world.delete(l); f.swap() },
		"expired": func(*front, *cloud.Link) {},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := shared(t, "www.example.com")
			began := make(chan struct{})
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				close(began)
				<-r.Context().Done()
			}))
			defer slow.Close()
			f.world.app("slow", 1, 1)
			f.world.up("slow", 1, slow.Listener.Addr().String())
			next := *l
			next.Release = ref("slow").Release(1)
			if name == "expired" {
				next.Expires = time.Now().Add(5 * time.Second)
			}
			f.world.put(&next)
			f.swap()
			p := dial(t, f.public).send(get("/", "www.example.com", "Cookie: "+linkCookie+"="+linkToken(linkKey, &next)))
			<-began
			since := time.Now()
			if name == "expired" {
				since = next.Expires
			}
			end(f, &next)
			_, err := io.Copy(io.Discard, bufio.NewReader(p.Conn))
			if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Fatal("it goes on")
			}
			if took := time.Since(since); took > 15*time.Second {
				t.Errorf("it went on for %s", took)
			}
		})
	}
}
