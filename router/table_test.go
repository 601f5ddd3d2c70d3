package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestCompile(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 2)
	w.up("shop", 1, "10.0.0.1:80")
	w.up("shop", 1, "10.0.0.2:80")
	w.up("shop", 2, "10.0.0.3:80")
	w.app("cart", 0, 1)
	w.vhost(t, "www.example.com", cloud.ExposedPublic, map[string][]string{"/": {"shop=95", "shop@r2=5"}, "/cart": {"cart@r1"}})
	w.vhost(t, "qa.example.com", cloud.ExposedInternal, map[string][]string{"/": {"shop", "shop@r2"}})
	c := Compiler{}
	want := strings.TrimPrefix(`
endpoint shop-r1-1 10.0.0.1:80
endpoint shop-r1-2 10.0.0.2:80
endpoint shop-r2-3 10.0.0.3:80
internal cart-20261122-r1.micro.test/
internal cart.micro.test/
internal qa.example.com/ shop@r1=2 shop@r2=1
internal shop-20261122-r1.micro.test/ shop@r1=1
internal shop-20261122-r2.micro.test/ shop@r2=1
internal shop.micro.test/ shop@r1=1
internal www.example.com/ shop@r1=19 shop@r2=1
internal www.example.com/cart
pool cart@r1 
pool shop@r1 shop-r1-1=10.0.0.1:80 shop-r1-2=10.0.0.2:80
pool shop@r2 shop-r2-3=10.0.0.3:80
public www.example.com/ shop@r1=19 shop@r2=1
public www.example.com/cart
`, "\n")
	if got := c.Compile(nil, w.view).String(); got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestFind(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 1)
	w.app("cart", 1, 1)
	w.app("deep", 1, 1)
	w.vhost(t, "www.example.com", cloud.ExposedPublic, map[string][]string{"/": {"shop"}, "/cart": {"cart"}, "/cart/a/b": {"deep"}})
	w.vhost(t, "api.example.com", cloud.ExposedPublic, map[string][]string{"/v1": {"shop"}})
	w.vhost(t, "*.example.com", cloud.ExposedPublic, map[string][]string{"/": {"deep"}})
	table := (&Compiler{}).Compile(nil, w.view)
	f := func(host, path, want string) {
		t.Helper()
		var key [maxHostKey + 1]byte
		r := table.find(false, true, &key, hostKey([]byte(host), &key), []byte(path), make([]byte, 0, 64))
		got := "none"
		if r != nil {
			got = r.apps[0].String()
		}
		if got != want {
			t.Errorf("%s%s: got %s, want %s", host, path, got, want)
		}
	}
	f("www.example.com", "/", "shop")
	f("www.example.com", "/cart", "cart")
	f("www.example.com", "/cart/", "cart")
	f("www.example.com", "/cart?x", "cart")
	f("www.example.com", "/cart/x", "cart")
	f("www.example.com", "/cartoon", "shop")
	f("www.example.com", "/Cart", "shop")
	f("www.example.com", "/cart/a", "cart")
	f("www.example.com", "/cart/a/b", "deep")
	f("www.example.com", "/cart/a/b/c/d", "deep")
	f("www.example.com", "/cart/a/bc", "cart")
	f("www.example.com", "//cart", "cart")
	f("www.example.com", "/x/%2e%2e/cart", "cart")
	f("www.example.com", "/x/../cart", "cart")
	f("www.example.com", "/cart/%2e%2e/x", "shop")
	f("www.example.com", `/cart\..\x`, "shop")
	f("www.example.com", "/cart%2fa", "shop")
	f("www.example.com", "/cart%00", "shop")
	f("www.example.com", "/"+strings.Repeat("a/", 10_000), "shop")
	f("www.example.com", "/cart/"+strings.Repeat("a/", 10_000), "cart")
	f("api.example.com", "/v1/x", "shop")
	f("api.example.com", "/v2", "none")
	f("api.example.com", "/", "none")
	f("other.example.com", "/v1", "deep")
	f("a.b.example.com", "/", "none")
	f("example.com", "/", "none")
	f("shop.micro.test", "/", "none")
}

// TestCompileIncrementally: whatever changes, a table made from the one before is the same as one made
// from nothing, and endpoints that stay are the same ones.
func TestCompileIncrementally(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld()
		c := Compiler{}
		table := c.Compile(nil, w.view)
		var up []cloud.InstanceID
		apps := []string{"a", "b", "c-20261122", "d"}
		hosts := []cloud.Host{"x.example.com", "*.example.com", "a.micro.test", "b-20261122-r1.micro.test", "y.example.com"}
		for step := range 150 {
			for range 1 + rng.IntN(3) {
				app := apps[rng.IntN(len(apps))]
				switch rng.IntN(9) {
				case 0:
					w.app(app, rng.IntN(3), 2)
				case 1:
					if a, ok := w.view.State.App(ref(app)); ok && rng.IntN(3) == 0 {
						w.delete(a)
						for r := range w.view.State.Releases(ref(app)) {
							w.delete(r)
						}
					}
				case 2, 3:
					up = append(up, w.up(app, 1+rng.IntN(2), fmt.Sprintf("10.0.0.%d:80", 1+rng.IntN(200))))
				case 4:
					if len(up) > 0 {
						w.phase(up[rng.IntN(len(up))], cloud.InstancePhases()[rng.IntN(6)])
					}
				case 5:
					if len(up) > 0 {
						i := rng.IntN(len(up))
						w.down(up[i])
						up = slices.Delete(up, i, i+1)
					}
				case 6:
					var targets []string
					for range rng.IntN(3) {
						targets = append(targets, []string{"a", "b@r1", "c-20261122=5", "d@r2=10"}[rng.IntN(4)])
					}
					// c-20261122 is no valid reference only where it ends like a release; here it does not.
					w.vhost(t, string(hosts[rng.IntN(len(hosts))]), []cloud.Exposure{cloud.ExposedInternal, cloud.ExposedPublic}[rng.IntN(2)],
						map[string][]string{"/": targets, "/p": {"a"}})
				case 7:
					if s, ok := w.view.State.VirtualHost(hosts[rng.IntN(len(hosts))]); ok {
						w.delete(s)
					}
				case 8:
					vhost, ok := w.view.State.VirtualHost(hosts[rng.IntN(len(hosts))])
					if !ok {
						continue
					}
					if route, ok := vhost.Route("/"); ok {
						with := *route
						with.Rules = parseRules(t, "cookie x", []string{"a", "b@r1", "c-20261122@r2", "d@r2"}[rng.IntN(4)])
						w.put(vhost.With(with))
					}
				}
			}
			if rng.IntN(40) == 0 {
				// Far behind: the view no longer knows what changed.
				for range 300 {
					w.app("a", 1, 2)
				}
			}
			before := table
			table = c.Compile(before, w.view)
			if got, want := table.String(), c.Compile(nil, w.view).String(); got != want {
				t.Fatalf("seed %d, step %d: got\n%s\nfrom nothing\n%s", seed, step, got, want)
			}
			gone := map[*Endpoint]bool{}
			for _, e := range table.gone {
				gone[e] = true
			}
			for id, e := range before.endpoints.all {
				now, ok := table.endpoints.lookup(id)
				switch {
				case ok && now.Addr == e.Addr && now != e:
					t.Fatalf("seed %d, step %d: %s has forgotten what it knew", seed, step, id)
				case now != e && !gone[e]:
					t.Fatalf("seed %d, step %d: %s left unnoticed", seed, step, id)
				case now == e && gone[e]:
					t.Fatalf("seed %d, step %d: %s is gone and there", seed, step, id)
				}
			}
		}
	}
}

// manyApps is a world with n hosts, each an app's with one instance.
func manyApps(n int) *world {
	w := newWorld()
	var changes []cloud.Change
	for i := range n {
		name := fmt.Sprintf("app%d", i)
		changes = append(changes, cloud.Put(&cloud.App{AppRef: ref(name), Created: birth, Current: 1, Last: 1}),
			cloud.Put(&cloud.Release{ReleaseRef: ref(name).Release(1), Created: birth}))
	}
	w.rev++
	w.view.State = w.view.State.Apply(w.rev, changes)
	for i := range n {
		w.up(fmt.Sprintf("app%d", i), 1, "127.0.0.1:80")
	}
	return w
}

func BenchmarkLookupAndPick(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table := (&Compiler{}).Compile(nil, manyApps(n).view)
			hosts := make([][]byte, 1024)
			for i := range hosts {
				hosts[i] = fmt.Appendf(nil, "app%d.micro.test:8080", i*7919%n)
			}
			var key [maxHostKey + 1]byte
			scratch := make([]byte, 0, 64)
			path := []byte("/products/42?ref=home")
			rng := uint64(1)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r := table.find(true, false, &key, hostKey(hosts[i&1023], &key), path, scratch)
				i++
				rng = mix(rng)
				e := r.pool().claim(rng, 1, nil)
				e.release()
			}
		})
	}
}

// BenchmarkCompileOne changes one host of n.
func BenchmarkCompileOne(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := manyApps(n)
			r := New(Config{})
			c := Compiler{}
			r.Swap(c.Compile(nil, w.view))
			var id cloud.InstanceID
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				if id != "" {
					w.down(id)
				}
				id = w.up(fmt.Sprintf("app%d", i%n), 1, "127.0.0.1:81")
				b.StartTimer()
				r.Swap(c.Compile(r.Table(), w.view))
			}
		})
	}
}

// TestManyRoutes: a lookup allocates nothing among many. How quick a change is it only says; bench/routes
// measures it.
func TestManyRoutes(t *testing.T) {
	const n = 20_000
	w := manyApps(n)
	c := Compiler{}
	r := New(Config{})
	r.Swap(c.Compile(nil, w.view))
	table := r.Table()
	var key [maxHostKey + 1]byte
	host, path, scratch := []byte("App7.micro.test"), []byte("/a/%2e%2e/b"), make([]byte, 0, 64)
	if got := testing.AllocsPerRun(100, func() {
		e := table.find(true, false, &key, hostKey(host, &key), path, scratch).pool().claim(7, 1, nil)
		e.release()
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	var took []time.Duration
	for i := range 100 {
		w.up(fmt.Sprintf("app%d", i), 1, "127.0.0.1:81")
		begun := time.Now()
		r.Swap(c.Compile(r.Table(), w.view))
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("one of %d routes changed: median %v, longest %v", n, took[50], took[99])
}
