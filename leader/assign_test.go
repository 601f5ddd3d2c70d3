package leader_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/cloudtest"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
)

var (
	noon = cloudtest.Noon
	shop = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	ann  = cloud.Stamp{At: noon, By: "ann"}
)

// TestAssign reads a cloud and what was observed of it from each file of testdata/assign, and compares the
// places that Assign gives, and what the nodes then plan.
func TestAssign(t *testing.T) {
	cloudtest.Golden(t, "testdata/assign/*.txtar", func(t *testing.T, section func(string) string) []cloudtest.Output {
		v := cloudtest.View(t, section("state"), section("seen"))
		v.State = v.State.Apply(2, leader.Assign(v, appsOf(v)...))
		if again := leader.Assign(v, appsOf(v)...); len(again) > 0 {
			t.Errorf("with all places given there is more to give: %v", again)
		}
		return []cloudtest.Output{{Name: "places", Text: cloudtest.Places(v.State)}, {Name: "plan", Text: plans(v)}}
	})
}

// appsOf returns all apps that a view knows of.
func appsOf(v cloud.View) []cloud.AppRef { return new(cloud.Worklist).Next(v, noon) }

// plans writes what all nodes of a view plan.
func plans(v cloud.View) string {
	var b strings.Builder
	for n := range v.State.Nodes() {
		for _, app := range appsOf(v) {
			steps, again := runtime.Plan(v, n.Name, app, noon)
			text := showSteps(steps, again)
			if n.Name != "n1" {
				for line := range strings.Lines(text) {
					fmt.Fprintf(&b, "%s: %s", n.Name, line)
				}
				continue
			}
			b.WriteString(text)
		}
	}
	return b.String()
}

func showSteps(steps []runtime.Step, again time.Time) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s", s.Do, s.Slot)
		switch s.Do {
		case runtime.Start:
			fmt.Fprintf(&b, " gen=%d", s.Generation)
		case runtime.Drain, runtime.Remove:
			fmt.Fprintf(&b, " %s", s.ID)
		case runtime.Leave:
		}
		if s.Linger {
			b.WriteString(" linger")
		}
		b.WriteByte('\n')
	}
	if !again.IsZero() {
		fmt.Fprintf(&b, "again in %s\n", again.Sub(noon))
	}
	return b.String()
}
