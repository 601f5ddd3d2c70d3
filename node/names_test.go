package node

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/router"
)

// TestRouterAndDNSAgree maps hosts at random, with wildcards. A name below the private domain must have an address
// exactly if the router knows the host. (Exception: a release that does not run has no name, while the router
// answers it with 503.)
func TestRouterAndDNSAgree(t *testing.T) {
	const domain cloud.Domain = "micro.test"
	empty, err := dnsd.NewZone(string(domain))
	if err != nil {
		t.Fatal(err)
	}
	compiler := &router.Compiler{Mounts: []router.Mount{{
		Host: domain.API(), Name: "api", Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed },
	}}}
	client := dnsd.View{Class: dnsd.Loopback, A: netip.MustParseAddr("127.0.0.1")}
	born := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	labels := rapid.SampledFrom([]string{"a", "b", "*", "qa", "api", "a-20261122-r1"})
	rapid.Check(t, func(t *rapid.T) {
		host := func(what string) string {
			return strings.Join(append(rapid.SliceOfN(labels, 0, 4).Draw(t, what), string(domain)), ".")
		}
		v := cloud.NewView()
		changes := []cloud.Change{cloud.Put(&cloud.Settings{Domain: domain}), cloud.Put(&cloud.Group{Name: cloud.DefaultGroup}), cloud.Put(&cloud.Group{Name: "qa"})}
		for _, ref := range []cloud.AppRef{{Group: cloud.DefaultGroup, App: "a"}, {Group: "qa", App: "b"}} {
			if rapid.Bool().Draw(t, ref.String()) {
				changes = append(changes, cloud.Put(&cloud.App{AppRef: ref, Created: born, Last: 1, Current: 1}),
					cloud.Put(&cloud.Release{ReleaseRef: ref.Release(1), Created: born, Up: true}))
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "hosts") {
			mapped, err := cloud.ParseHost(host("mapped"))
			if err != nil || mapped == domain.API() {
				continue
			}
			changes = append(changes, cloud.Put(&cloud.VirtualHost{Host: mapped, Group: cloud.DefaultGroup, Exposure: cloud.ExposedInternal}))
		}
		v.State = v.State.Apply(1, changes)
		zone := dnsd.Compile(empty, cloud.View{}, v)
		r := router.New(router.Config{})
		r.Swap(compiler.Compile(nil, v))
		for range 20 {
			name := host("asked")
			if known, has := r.Trace(router.Question{Internal: true, Client: netip.MustParseAddr("127.0.0.1"), Host: name, Target: "/"}).Known, hasAddress(t, zone, name, client); known != has {
				t.Errorf("%s: the router knows it: %v, it has an address: %v", name, known, has)
			}
		}
	})
}

func hasAddress(t *rapid.T, zone *dnsd.Zone, name string, client dnsd.View) bool {
	wire := []byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	for label := range strings.SplitSeq(name, ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	wire = append(wire, "\x00\x00\x01\x00\x01"...)
	var q dnsd.Query
	if !q.Parse(wire) {
		t.Fatal("not a query")
	}
	b, ours := zone.Answer(nil, &q, client)
	return ours && b[3]&0xf == 0 && b[7] > 0
}
