package runtime_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/cloudtest"
	"github.com/protoduction/micro/runtime"
)

// TestPlan reads a cloud's places and the instances of its node n1 from each file of testdata/plan, and compares the
// node's plan. The tests of Assign are in leader/testdata.
func TestPlan(t *testing.T) {
	cloudtest.Golden(t, "testdata/plan/*.txtar", func(t *testing.T, section func(string) string) []cloudtest.Output {
		v := cloudtest.View(t, section("state"), section("seen"))
		var b strings.Builder
		for _, app := range new(cloud.Worklist).Next(v, cloudtest.Noon) {
			steps, again := runtime.Plan(v, "n1", app, cloudtest.Noon)
			b.WriteString(showSteps(steps, again))
		}
		return []cloudtest.Output{{Name: "plan", Text: b.String()}}
	})
}

func showSteps(steps []runtime.Step, again time.Time) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s", s.Do, s.Slot)
		switch s.Do {
		case runtime.Start:
			fmt.Fprintf(&b, " gen=%d token=%d", s.Generation, s.Token)
		case runtime.Drain, runtime.Remove:
			fmt.Fprintf(&b, " %s", s.ID)
		case runtime.Leave:
			fmt.Fprintf(&b, " token=%d", s.Token)
		}
		if s.Linger {
			b.WriteString(" linger")
		}
		b.WriteByte('\n')
	}
	if !again.IsZero() {
		fmt.Fprintf(&b, "again in %s\n", again.Sub(cloudtest.Noon))
	}
	return b.String()
}

// BenchmarkPlan measures the cost of a change of one app, among few apps and among many.
func BenchmarkPlan(b *testing.B) {
	for _, apps := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("%d-apps", apps), func(b *testing.B) {
			v := cloudtest.Large(1, apps, 10)
			now := v
			app := cloudtest.LargeApp(apps / 2)
			for i := range v.Instances.OfApp(app) {
				changed := *i
				changed.Phase = cloud.InstanceUnready
				now.Instances = now.Instances.With(&changed)
			}
			var before cloud.Worklist
			before.Next(v, cloudtest.Noon)
			b.ReportAllocs()
			for b.Loop() {
				work := before
				for _, app := range work.Next(now, cloudtest.Noon) {
					if steps, _ := runtime.Plan(now, cloudtest.LargeNode(0), app, cloudtest.Noon); len(steps) > 0 {
						b.Fatal(steps)
					}
				}
			}
		})
	}
}
