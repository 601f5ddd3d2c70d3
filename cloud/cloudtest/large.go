package cloudtest

import (
	"fmt"
	"net/netip"

	"github.com/protoduction/micro/cloud"
)

// LargeApp is the app of a number.
func LargeApp(k int) cloud.AppRef {
	return cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(fmt.Sprintf("app-%05d", k))}
}

// LargeNode is the node of a number.
func LargeNode(k int) cloud.NodeName { return cloud.NodeName(fmt.Sprintf("node-%04d", k)) }

// Large is a cloud of many nodes, in three zones, and many apps with so many ready instances each, all of
// which have their places.
func Large(nodes, apps, instances int) cloud.View {
	v := cloud.NewView()
	changes := v.State.Init(cloud.Stamp{At: Noon})
	for k := range nodes {
		changes = append(changes, cloud.Put(&cloud.Node{
			Name: LargeNode(k), Labels: map[string]string{cloud.ZoneLabel: fmt.Sprintf("zone-%d", k%3)},
			Capacity: cloud.Capacity{Memory: 1 << 46},
		}))
		v.Instances = v.Instances.WithNode(&cloud.NodeStatus{Name: LargeNode(k), Alive: true})
	}
	for k := range apps {
		ref := LargeApp(k).Release(1)
		spec := cloud.Spec{Strategy: cloud.Strategy{Kind: cloud.Rolling}, Processes: map[cloud.ProcessName]cloud.Process{cloud.Web: {Port: 8080}}}
		a := &cloud.Assignment{ReleaseRef: ref, Of: Noon}
		for index := range instances {
			p := cloud.Place{Process: cloud.Web, Index: index, Node: LargeNode((k*instances + index) % nodes), Token: 1, Memory: 1 << 28}
			a.Places = append(a.Places, p)
			n := k*instances + index
			v.Instances = v.Instances.With(&cloud.Instance{
				ID: cloud.InstanceID(fmt.Sprintf("%s-%d", ref.App, index)), Slot: a.Slot(p), Of: a.Of, Token: p.Token, Node: p.Node,
				Phase: cloud.InstanceReady, Since: Noon,
				Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 8080),
			})
		}
		changes = append(changes, cloud.Put(a), cloud.Put(&cloud.App{AppRef: ref.AppRef, Last: 1, Current: 1}), cloud.Put(&cloud.Release{
			ReleaseRef: ref, Created: Noon, Since: Noon, Up: true, Spec: spec,
			Formation: cloud.Formation{cloud.Web: {Instances: instances, Memory: 1 << 28}},
		}))
	}
	v.State = v.State.Apply(1, changes)
	return v
}
