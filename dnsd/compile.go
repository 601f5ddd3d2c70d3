package dnsd

import (
	"maps"
	"net/netip"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/protoduction/micro/cloud"
)

// Compile returns the zone of the new view. prev is the zone of the old view: Compile changes only what
// differs between the two views and shares the rest with prev. If the difference is no longer known, it
// compiles everything.
func Compile(prev *Zone, old, new cloud.View) *Zone {
	apps, hosts, ok := new.Touched(old)
	b := builder{domain: cloud.Domain(prev.domain)}
	if !ok {
		prev, old = prev.emptyCopy(), cloud.NewView()
		apps, hosts = allRefs(new)
	}
	// Releases that a route names keep running, so a changed route may change what its apps run.
	for host := range hosts {
		for _, s := range []*cloud.State{old.State, new.State} {
			if vhost, ok := s.VirtualHost(host); ok {
				addTargets(apps, vhost)
			}
		}
	}
	b.hosts, b.services, b.addrs = prev.hosts.Txn(), prev.services.Txn(), prev.addrs.Txn()
	for ref := range apps { // remove from all apps before adding: an address may move from one app to another
		b.removeApp(old, new, ref)
	}
	for ref := range apps {
		b.addApp(new, ref)
	}
	for host := range hosts {
		vhost, exists := new.State.VirtualHost(host)
		b.setOwner(host, ownHost, exists)
		b.setOwner(host, ownSecure, exists && vhost.TLS != nil && vhost.TLS.Only && !vhost.Passthrough)
	}
	z := *prev
	z.hosts, z.services, z.addrs = b.hosts.Commit(), b.services.Commit(), b.addrs.Commit()
	if nodes, ok := new.TouchedNodes(old); !ok || len(nodes) > 0 {
		z.subnets = prev.own
		for n := range new.State.Nodes() {
			if n.Subnet.IsValid() {
				z.subnets = append(slices.Clip(z.subnets), n.Subnet)
			}
		}
		z.routers = livingRouters(new)
	}
	if !ok { // a changed group or public domain makes Touched return false
		z.groups = groupNames(new.State)
		z.challenges = compileChallenges(new.State)
	}
	z.setSerial(uint32(new.State.Rev()))
	return &z
}

// maxRouters is how many addresses of other nodes' routers an answer has at most, so that it fits a packet.
const maxRouters = 16

// livingRouters returns the addresses of the other living nodes' routers. A node does not say its own to itself.
func livingRouters(v cloud.View) (list []netip.Addr) {
	for n := range v.State.Nodes() {
		if s, ok := v.Instances.NodeStatus(n.Name); ok && s.Alive {
			list = append(list, s.Routers...)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	return list[:min(len(list), maxRouters)]
}

// emptyCopy returns a zone of the same domain with only the node's own names.
func (z *Zone) emptyCopy() *Zone {
	e, err := NewZone(z.domain, z.own...)
	if err != nil {
		panic(err) // z was made from the same domain
	}
	return e
}

func groupNames(s *cloud.State) map[string]bool {
	names := map[string]bool{string(cloud.DefaultGroup): true}
	for g := range s.Groups() {
		names[string(g.Name)] = true
	}
	return names
}

func allRefs(v cloud.View) (map[cloud.AppRef]bool, map[cloud.Host]bool) {
	apps, hosts := map[cloud.AppRef]bool{}, map[cloud.Host]bool{}
	for app := range v.State.Apps("") {
		apps[app.AppRef] = true
	}
	for vhost := range v.State.VirtualHosts() {
		hosts[vhost.Host] = true
	}
	return apps, hosts
}

func addTargets(apps map[cloud.AppRef]bool, vhost *cloud.VirtualHost) {
	for app := range vhost.Apps() {
		apps[app] = true
	}
}

// builder edits copies of a zone's trees.
type builder struct {
	domain   cloud.Domain
	hosts    *iradix.Txn[owners]
	services *iradix.Txn[*endpoints]
	addrs    *iradix.Txn[cloud.AppRef]
}

// setOwner adds or removes one owner of a name in the private domain. A name without owners is deleted.
func (b *builder) setOwner(host cloud.Host, by owners, exists bool) {
	key, in := hostKey(string(host), string(b.domain))
	if !in {
		return
	}
	was, _ := b.hosts.Get(key)
	now := was &^ by
	if exists {
		now |= by
	}
	switch {
	case now == was:
	case now == 0:
		b.hosts.Delete(key)
	default:
		b.hosts.Insert(key, now)
	}
}

// removeApp deletes the names and addresses that an app had in the old view only.
func (b *builder) removeApp(old, new cloud.View, ref cloud.AppRef) {
	now := b.releases(new.State, ref)
	for host := range b.releases(old.State, ref) {
		if !now[host] {
			b.setOwner(host, ownRelease, false)
		}
	}
	for i := range old.Instances.OfApp(ref) {
		key := addrKey(i.Addr.Addr())
		if owner, ok := b.addrs.Get(key); ok && owner == ref {
			b.addrs.Delete(key)
		}
	}
	if _, ok := new.State.App(ref); !ok {
		b.setOwner(b.domain.App(ref), ownApp, false)
		b.services.Delete(serviceKey(ref))
	}
}

func (b *builder) addApp(v cloud.View, ref cloud.AppRef) {
	app, ok := v.State.App(ref)
	if !ok {
		return
	}
	b.setOwner(b.domain.App(ref), ownApp, true)
	for host := range b.releases(v.State, ref) {
		b.setOwner(host, ownRelease, true)
	}
	for i := range v.Instances.OfApp(ref) {
		if i.Addr.Addr().IsValid() && i.Phase != cloud.InstanceExited {
			b.addrs.Insert(addrKey(i.Addr.Addr()), ref)
		}
	}
	key, next := serviceKey(ref), newEndpoints(v, app)
	if was, ok := b.services.Get(key); !ok || !was.equal(next) {
		b.services.Insert(key, next)
	}
}

// releases returns the host names of an app's running releases.
func (b *builder) releases(s *cloud.State, ref cloud.AppRef) map[cloud.Host]bool {
	hosts := map[cloud.Host]bool{}
	if _, ok := s.App(ref); !ok {
		return hosts
	}
	for r := range s.Releases(ref) {
		if s.Runs(r) {
			hosts[b.domain.Release(r.ReleaseRef, r.Created)] = true
		}
	}
	return hosts
}

// serviceKey is the key of APP.GROUP.internal.
func serviceKey(ref cloud.AppRef) []byte {
	key := append([]byte{byte(len(ref.Group))}, ref.Group...)
	return append(append(key, byte(len(ref.App))), ref.App...)
}

// addrKey is the key of an instance's address.
func addrKey(a netip.Addr) []byte { return a.Unmap().AsSlice() }

// newEndpoints returns the instances that may get requests to the app.
func newEndpoints(v cloud.View, app *cloud.App) *endpoints {
	set := &endpoints{ports: map[netip.Addr]uint16{}}
	for _, ref := range v.Serving(app) {
		for _, i := range v.Pool(ref) {
			set.ports[i.Addr.Addr().Unmap()] = i.Addr.Port()
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(set.ports), netip.Addr.Compare) {
		if a.Is4() {
			set.v4 = append(set.v4, a)
		} else {
			set.v6 = append(set.v6, a)
		}
	}
	return set
}

func (e *endpoints) equal(other *endpoints) bool { return maps.Equal(e.ports, other.ports) }
