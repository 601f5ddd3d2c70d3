package router

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestPass(t *testing.T) {
	key, other := []byte("a key of the node's"), []byte("another key")
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	good := Pass(key, "www.example.com", shop.Release(7), now.Add(time.Hour))
	for _, c := range []struct {
		name  string
		host  cloud.Host
		pass  string
		key   []byte
		after time.Duration
		ok    bool
	}{
		{"a good one", "www.example.com", good, key, 0, true},
		{"near its end", "www.example.com", good, key, time.Hour - time.Second, true},
		{"too late", "www.example.com", good, key, time.Hour, false},
		{"of another host", "api.example.com", good, key, 0, false},
		{"by another key", "www.example.com", good, other, 0, false},
		{"by no key", "www.example.com", Pass(nil, "www.example.com", shop.Release(7), now.Add(time.Hour)), nil, 0, false},
		{"for another release", "www.example.com", strings.Replace(good, "r7", "r8", 1), key, 0, false},
		{"for longer", "www.example.com", strings.Replace(good, ".1", ".2", 1), key, 0, false},
		{"cut off", "www.example.com", good[:len(good)-1], key, 0, false},
		{"plain", "www.example.com", "r7", key, 0, false},
		{"empty", "www.example.com", "", key, 0, false},
		{"dots", "www.example.com", "...", key, 0, false},
	} {
		if release, ok := passed(c.key, c.host, shop, []byte(c.pass), now.Add(c.after)); ok != c.ok || ok && string(release) != "r7" {
			t.Errorf("%s: %q, %v", c.name, release, ok)
		}
	}
	for _, app := range []cloud.AppRef{ref("blog"), {Group: "qa", App: "shop"}, {}} {
		if _, ok := passed(key, "www.example.com", app, []byte(good), now); ok {
			t.Errorf("a pass for shop is good for %s", app)
		}
	}
}

// A pass leads to the app that it was made for, wherever on the host, and to no release of another app that
// has the same number. What was asked for by one is not counted among what users got.
func TestPassOfTwoApps(t *testing.T) {
	key := []byte("a key of the node's")
	f := newFront(t, Config{PassKey: key})
	for _, app := range []string{"shop", "blog"} {
		f.world.app(app, 1, 2)
		for n := 1; n <= 2; n++ {
			f.world.up(app, n, backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s r%d", app, n) }))
		}
	}
	f.world.vhost(t, "www.example.com", cloud.ExposedPublic, map[string][]string{"/": {"shop=100", "blog=0"}, "/blog": {"blog"}})
	f.swap()
	p := dial(t, f.public)
	for _, c := range []struct {
		app, path, want string
		pinned          bool
	}{
		{"shop", "/", "shop r2", true},
		{"shop", "/blog", "blog r1", false},
		{"blog", "/", "blog r2", true},
		{"blog", "/blog", "blog r2", true},
	} {
		pass := Pass(key, "www.example.com", ref(c.app).Release(2), time.Now().Add(time.Hour))
		if _, got := p.send(get(c.path, "www.example.com", "X-Micro-Release: "+pass)).answer("GET"); got != c.want {
			t.Errorf("a pass for %s on %s leads to %s, want %s", c.app, c.path, got, c.want)
		}
		if x := f.seen.next(t); x.Pinned != c.pinned {
			t.Errorf("a pass for %s on %s: pinned %v, want %v", c.app, c.path, x.Pinned, c.pinned)
		}
	}
}
