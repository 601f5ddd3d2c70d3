package leader_test

import (
	"fmt"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/cloudtest"
	"github.com/protoduction/micro/leader"
)

// BenchmarkOneOf measures what a push of one app costs whoever decides, one app among few and among many: the
// second must not cost much more than the first.
func BenchmarkOneOf(b *testing.B) {
	for _, size := range []struct{ nodes, apps int }{{1, 10}, {1, 10_000}, {100, 10_000}} {
		name := fmt.Sprintf("%d-apps-on-%d", size.apps, size.nodes)
		v := cloudtest.Large(size.nodes, size.apps, 10)
		ref := cloudtest.LargeApp(size.apps / 2)
		push := func(s *cloud.State) ([]cloud.Change, error) {
			changes, _, err := s.Push(cloud.Push{App: ref, Spec: cloud.PushSpec{}}, cloud.Stamp{At: noon})
			return changes, err
		}
		changes, err := leader.WithPlaces(func() cloud.View { return v }, push)(v.State)
		if err != nil {
			b.Fatal(err)
		}
		pushed := cloud.View{State: v.State.Apply(v.State.Rev()+1, changes), Instances: v.Instances}
		b.Run("Assign/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := leader.WithPlaces(func() cloud.View { return v }, push)(v.State); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("Settled/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if changes := leader.Assign(pushed, ref); len(changes) > 0 {
					b.Fatal(changes)
				}
			}
		})
		b.Run("Advance/"+name, func(b *testing.B) {
			var before cloud.Worklist
			before.Next(v, noon)
			b.ReportAllocs()
			for b.Loop() {
				work := before
				for _, app := range work.Next(pushed, noon) {
					leader.Advance(pushed, app, noon)
				}
			}
		})
	}
}
