package router

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// world makes views for tests: a state and its instances, changed a step at a time.
type world struct {
	view cloud.View
	rev  cloud.Revision
	n    int
}

var birth = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newWorld() *world {
	w := &world{view: cloud.NewView()}
	w.put(&cloud.Settings{Domain: "micro.test"})
	return w
}

func (w *world) put(objects ...cloud.Object) {
	var changes []cloud.Change
	for _, o := range objects {
		changes = append(changes, cloud.Put(o))
	}
	w.rev++
	w.view.State = w.view.State.Apply(w.rev, changes)
}

func (w *world) delete(o cloud.Object) {
	w.rev++
	w.view.State = w.view.State.Apply(w.rev, []cloud.Change{cloud.Delete(o)})
}

func ref(app string) cloud.AppRef {
	return cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(app)}
}

// app puts an app of which release current is current, with releases 1 to last.
func (w *world) app(name string, current, last int) {
	objects := []cloud.Object{&cloud.App{AppRef: ref(name), Created: birth, Current: current, Last: last}}
	for n := 1; n <= last; n++ {
		objects = append(objects, &cloud.Release{ReleaseRef: ref(name).Release(n), Created: birth})
	}
	w.put(objects...)
}

// up adds a ready instance of a release and returns its ID.
func (w *world) up(app string, release int, addr string) cloud.InstanceID {
	w.n++
	id := cloud.InstanceID(fmt.Sprintf("%s-r%d-%d", app, release, w.n))
	w.view.Instances = w.view.Instances.With(&cloud.Instance{
		ID:    id,
		Slot:  cloud.Slot{ReleaseRef: ref(app).Release(release), Process: cloud.Web, Index: w.n},
		Phase: cloud.InstanceReady,
		Addr:  netip.MustParseAddrPort(addr),
	})
	return id
}

func (w *world) down(id cloud.InstanceID) { w.view.Instances = w.view.Instances.Without(id) }

func (w *world) phase(id cloud.InstanceID, p cloud.InstancePhase) {
	i, _ := w.view.Instances.Get(id)
	next := *i
	next.Phase = p
	w.view.Instances = w.view.Instances.With(&next)
}

// vhost maps a host to targets, each "shop", "shop@r2" or with a weight "shop@r2=5".
func (w *world) vhost(t testing.TB, host string, exposure cloud.Exposure, paths map[string][]string) {
	s := &cloud.VirtualHost{Host: cloud.Host(host), Group: cloud.DefaultGroup, Exposure: exposure, Created: birth}
	for path, targets := range paths {
		s = s.With(cloud.Route{Path: path, Targets: parseTargets(t, targets)})
	}
	w.put(s)
}

func parseTargets(t testing.TB, targets []string) []cloud.Target {
	t.Helper()
	var out []cloud.Target
	for _, s := range targets {
		var target cloud.Target
		for i := range s {
			if s[i] == '=' {
				target.Weighted = true
				if _, err := fmt.Sscan(s[i+1:], &target.Weight); err != nil {
					t.Fatal(err)
				}
				s = s[:i]
				break
			}
		}
		r, err := cloud.ParseRef(s, cloud.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		target.ReleaseRef = r
		out = append(out, target)
	}
	return out
}
