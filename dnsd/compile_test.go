package dnsd

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
)

// dump returns all answers of a zone, to compare two zones.
func dump(z *Zone) map[string]string {
	all := map[string]string{"soa": fmt.Sprintf("%q %q", z.private.soa, z.internal.soa)}
	for it := z.hosts.Root().Iterator(); ; {
		k, v, ok := it.Next()
		if !ok {
			break
		}
		all["host "+string(k)] = fmt.Sprint(v)
	}
	for it := z.services.Root().Iterator(); ; {
		k, v, ok := it.Next()
		if !ok {
			break
		}
		all["service "+string(k)] = fmt.Sprint(v.v4, v.v6, v.ports)
	}
	for it := z.addrs.Root().Iterator(); ; {
		k, v, ok := it.Next()
		if !ok {
			break
		}
		all["address "+netip.AddrFrom4([4]byte(k)).String()] = v.String()
	}
	for g := range z.groups {
		all["group "+g] = "exists"
	}
	return all
}

func diff(a, b map[string]string) (lines []string) {
	for k, v := range a {
		if b[k] != v {
			lines = append(lines, fmt.Sprintf("%q: %s, from nothing %s", k, v, b[k]))
		}
	}
	for k, v := range b {
		if _, ok := a[k]; !ok {
			lines = append(lines, fmt.Sprintf("%q: missing, from nothing %s", k, v))
		}
	}
	return lines
}

// TestIncremental changes a cloud at random. The zone compiled step by step must equal the zone compiled from
// nothing, and later compilations must not change an earlier zone.
func TestIncremental(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, err := NewZone("micro.test")
		if err != nil {
			t.Fatal(err)
		}
		v := cloud.NewView()
		first := Compile(z, cloud.View{}, v)
		firstDump := dump(first)
		at, zone := v, first
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for range rapid.IntRange(1, 3).Draw(t, "changes") {
				v = randomChange(t, v)
			}
			zone = Compile(zone, at, v)
			at = v
			scratch := Compile(z, cloud.View{}, v)
			if lines := diff(dump(zone), dump(scratch)); len(lines) > 0 {
				t.Fatalf("revision %d: %v", v.State.Rev(), lines)
			}
		}
		if lines := diff(dump(first), firstDump); len(lines) > 0 {
			t.Fatalf("the first zone changed: %v", lines)
		}
	})
}

func randomChange(t *rapid.T, v cloud.View) cloud.View {
	group := cloud.GroupName(rapid.SampledFrom([]string{"default", "qa"}).Draw(t, "group"))
	ref := cloud.AppRef{Group: group, App: cloud.AppName(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app"))}
	n := rapid.IntRange(1, 3).Draw(t, "n")
	rel := &cloud.Release{ReleaseRef: ref.Release(n), Created: born, Up: true}
	put := func(changes ...cloud.Change) cloud.View {
		v.State = v.State.Apply(v.State.Rev()+1, changes)
		return v
	}
	switch rapid.IntRange(0, 7).Draw(t, "what") {
	case 0:
		app := &cloud.App{AppRef: ref, Created: born, Last: 3, Current: rapid.IntRange(0, 3).Draw(t, "current")}
		if rapid.Bool().Draw(t, "rolling") {
			app.Rollout = &cloud.Rollout{To: n, Strategy: cloud.Strategy{Kind: cloud.Rolling}}
		}
		return put(cloud.Put(app))
	case 1:
		rel.Staged, rel.Stopped = rapid.Bool().Draw(t, "staged"), rapid.Bool().Draw(t, "stopped")
		return put(cloud.Put(rel))
	case 2:
		return put(cloud.Delete(rel))
	case 3:
		changes := []cloud.Change{cloud.Delete(&cloud.App{AppRef: ref})}
		for r := range v.State.Releases(ref) {
			changes = append(changes, cloud.Delete(r))
		}
		return put(changes...)
	case 4: // hosts that lie on names of apps, too
		host := cloud.Host(rapid.SampledFrom([]string{"a.micro.test", "*.micro.test", "www.micro.test", "micro.test", "api.micro.test", "b.example.com", "a-20261122-r1.micro.test"}).Draw(t, "host"))
		s := &cloud.VirtualHost{Host: host, Group: group}
		if rapid.Bool().Draw(t, "unmap") {
			return put(cloud.Delete(s))
		}
		if rapid.Bool().Draw(t, "TLS alone") {
			s.TLS = &cloud.HostTLS{Only: true}
		}
		s.Routes = []cloud.Route{{Path: "/", Targets: []cloud.Target{{ReleaseRef: rel.ReleaseRef}}}}
		return put(cloud.Put(s))
	case 5:
		i := instance(rel, 0, "10.0.0.1:80", rapid.SampledFrom(cloud.InstancePhases()).Draw(t, "phase"))
		i.ID = cloud.InstanceID(fmt.Sprint(ref, n))
		i.Addr = netip.AddrPortFrom(freeAddr(t, v, i.ID), 80)
		v.Instances = v.Instances.With(i)
		return v
	case 6:
		g := &cloud.Group{Name: cloud.GroupName(rapid.SampledFrom([]string{"qa", "new"}).Draw(t, "changed group"))}
		if rapid.Bool().Draw(t, "gone") {
			return put(cloud.Delete(g))
		}
		return put(cloud.Put(g))
	default:
		v.Instances = v.Instances.Without(cloud.InstanceID(fmt.Sprint(ref, n)))
		return v
	}
}

// freeAddr draws an address that no other instance has: they move between apps, but two never share one.
func freeAddr(t *rapid.T, v cloud.View, id cloud.InstanceID) netip.Addr {
	var free []netip.Addr
	for last := range byte(16) {
		a := netip.AddrFrom4([4]byte{10, 0, 0, last})
		taken := false
		for i := range v.Instances.All() {
			taken = taken || i.ID != id && i.Addr.Addr() == a
		}
		if !taken {
			free = append(free, a)
		}
	}
	return rapid.SampledFrom(free).Draw(t, "addr")
}
