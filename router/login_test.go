package router

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// guarded is a front with a public host that wants a log-in of group default, in which anna has a role and bob none.
func guarded(t testing.TB, app http.HandlerFunc) *front {
	f := newFront(t, Config{PassKey: linkKey})
	f.compiler.Secret = linkKey
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "page %s %s", r.URL, r.Header["X-Micro-Client"])
	}))
	t.Cleanup(page.Close)
	f.compiler.Portal = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", page.Listener.Addr().String())
	}
	f.world.app("shop", 1, 1)
	f.world.up("shop", 1, backend(t, app))
	f.world.vhost(t, "www.example.com", cloud.ExposedPublic, map[string][]string{"/": {"shop"}, "/api": {"shop"}})
	f.world.put(&cloud.Group{Name: cloud.DefaultGroup}, &cloud.User{Name: "anna", Password: "hash"}, &cloud.User{Name: "bob", Password: "hash"},
		&cloud.Grant{Subject: "user:anna", Role: cloud.RoleAuditor, Group: cloud.DefaultGroup})
	f.wantLogin(true)
	return f
}

func (f *front) wantLogin(on bool) {
	vhost, _ := f.world.view.State.VirtualHost("www.example.com")
	next := *vhost
	next.Login = nil
	if on {
		next.Login = &cloud.HostLogin{Group: cloud.DefaultGroup}
	}
	f.world.put(&next)
	f.swap()
}

func (f *front) cookieOf(name cloud.UserName, host string, life time.Duration) string {
	u, _ := f.world.view.State.User(name)
	return "Cookie: a=1; " + loginCookie + "=" + Visit{User: name, Host: host, Expires: time.Now().Add(life).Unix()}.Cookie(linkKey, u)
}

func showUser(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %q %s", r.URL.Path, r.Header["X-Authenticated-User"], r.Header.Get("Cookie"))
}

// Who has logged in is passed on, and nobody else gets through; what a client claims is dropped.
func TestRequireLogin(t *testing.T) {
	f := guarded(t, showUser)
	p := dial(t, f.public)
	good := f.cookieOf("anna", "www.example.com", time.Hour)
	claims := []string{"X-Authenticated-User: root", "X_Authenticated_User: root", "x-authenticated_user: root"}
	for _, c := range []struct {
		name   string
		path   string
		fields []string
		status int
		body   string
	}{
		{"logged in", "/a", []string{good}, 200, `/a ["anna"] a=1`},
		{"below another route", "/api/x", []string{good}, 200, `/api/x ["anna"] a=1`},
		{"with claims", "/a", append([]string{good}, claims...), 200, `/a ["anna"] a=1`},
		{"no cookie", "/a", claims, 401, codeLogin},
		{"an API client with any type", "/a", []string{"Accept: */*"}, 401, codeLogin},
		{"a page for POST", "/a", []string{"Accept: text/html"}, 303, ""},
		{"another host's", "/a", []string{f.cookieOf("anna", "api.example.com", time.Hour)}, 401, codeLogin},
		{"expired", "/a", []string{f.cookieOf("anna", "www.example.com", -time.Second)}, 401, codeLogin},
		{"without a role", "/a", []string{f.cookieOf("bob", "www.example.com", time.Hour)}, 403, "not_allowed"},
		{"changed", "/a", []string{good + "x"}, 401, codeLogin},
		{"nonsense", "/a", []string{"Cookie: " + loginCookie + "=e30.x"}, 401, codeLogin},
		{"the page", loginPath + "?to=/a", []string{"X-Micro-Client: 1.2.3.4"}, 200, "page /.micro/login?to=/a [1.2.3.4 127.0.0.1]"},
		{"below the page", loginPath + "/out", nil, 200, "page /.micro/login/out [127.0.0.1]"},
	} {
		res, body := p.send(get(c.path, "www.example.com", c.fields...)).answer("GET")
		if res.StatusCode != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %s", c.name, res.StatusCode, body)
		}
		if (res.StatusCode == 401) != (res.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d with WWW-Authenticate %q", c.name, res.StatusCode, res.Header.Get("WWW-Authenticate"))
		}
	}
	res, _ := p.send(get("/a?b=c&d", "www.example.com", "Accept: text/html,*/*")).answer("GET")
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || to.Path != loginPath || to.Query().Get("to") != "/a?b=c&d" || to.Host != "" {
		t.Errorf("a browser is led to %q", res.Header.Get("Location"))
	}
	res, _ = p.send(request("POST", "/a", "www.example.com", "Accept: text/html", "Content-Length: 0")).answer("POST")
	if res.StatusCode != 401 {
		t.Errorf("POST: %d", res.StatusCode)
	}
	res, _ = dial(t, f.public).send(get("/a", "www.example.com", "Accept: text/html", "Connection: Upgrade", "Upgrade: websocket")).answer("GET")
	if res.StatusCode != 401 {
		t.Errorf("a WebSocket: %d", res.StatusCode)
	}
	// The internal listener asks too.
	if res, _ := dial(t, f.addr).send(get("/a", "www.example.com")).answer("GET"); res.StatusCode != 401 {
		t.Errorf("inside: %d", res.StatusCode)
	}
	// A host that wants no log-in passes no claim on either, and its own page is the app's.
	f.wantLogin(false)
	if _, body := p.send(get("/a", "www.example.com", append(claims, good)...)).answer("GET"); body != "/a [] a=1" {
		t.Errorf("without log-in: %s", body)
	}
	if _, body := p.send(get(loginPath, "www.example.com")).answer("GET"); body != "/.micro/login [] " {
		t.Errorf("without log-in the page is %s", body)
	}
}

// A log-in ends at once with another password, with the role, and with the user.
func TestLoginIsRevoked(t *testing.T) {
	for name, end := range map[string]func(f *front){
		"another password": func(f *front) { f.world.put(&cloud.User{Name: "anna", Password: "other"}) },
		"disabled":         func(f *front) { f.world.put(&cloud.User{Name: "anna", Password: "hash", Disabled: true}) },
		"deleted":          func(f *front) { f.world.delete(&cloud.User{Name: "anna"}) },
		"the role": func(f *front) {
			f.world.delete(&cloud.Grant{Subject: "user:anna", Group: cloud.DefaultGroup})
		},
	} {
		t.Run(name, func(t *testing.T) {
			began := make(chan struct{}, 1)
			f := guarded(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					w.(http.Flusher).Flush()
					began <- struct{}{}
					<-r.Context().Done()
				}
			})
			good := f.cookieOf("anna", "www.example.com", time.Hour)
			slow := dial(t, f.public).send(get("/slow", "www.example.com", good))
			<-began
			p := dial(t, f.public)
			if res, _ := p.send(get("/", "www.example.com", good)).answer("GET"); res.StatusCode != 200 {
				t.Fatalf("before: %d", res.StatusCode)
			}
			end(f)
			f.swap()
			since := time.Now()
			if res, _ := p.send(get("/", "www.example.com", good)).answer("GET"); res.StatusCode != 401 && res.StatusCode != 403 {
				t.Errorf("after: %d", res.StatusCode)
			}
			_, _ = io.Copy(io.Discard, slow.r)
			if took := time.Since(since); took > 15*time.Second {
				t.Errorf("an answer went on for %s", took)
			}
		})
	}
}

// Whatever a client sends as a cookie, only what was signed is taken for a log-in.
func FuzzVisit(f *testing.F) {
	anna := &cloud.User{Name: "anna", Password: "hash"}
	table := emptyTable()
	table.view.State = table.view.State.Apply(1, []cloud.Change{
		cloud.Put(anna), cloud.Put(&cloud.Group{Name: cloud.DefaultGroup}), cloud.Put(&cloud.Grant{Subject: "user:anna", Role: cloud.RoleAdmin, Group: cloud.DefaultGroup}),
	})
	l := &login{cloud.HostLogin{Group: cloud.DefaultGroup}}
	now := time.Unix(1_795_000_000, 0)
	good := Visit{User: "anna", Host: "www.example.com", Expires: now.Unix() + 60}.Cookie(linkKey, anna)
	f.Add(good)
	f.Add(Visit{User: "anna", Host: "www.example.com", Expires: now.Unix()}.Cookie(linkKey, anna))
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"u":"anna"}`)) + ".")
	f.Add(".")
	f.Fuzz(func(t *testing.T, cookie string) {
		if v, ok := table.visitor(linkKey, []byte(cookie), "www.example.com", l, now); ok && cookie != good {
			t.Errorf("%q lets in %+v", cookie, v)
		}
	})
}
