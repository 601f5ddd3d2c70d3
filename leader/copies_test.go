package leader

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TestCopies has a cloud a line: its nodes, each as NAME[=voter|=learner][@ZONE][!dead][!worker], in the order of joining, and
// the copies that they are to have.
func TestCopies(t *testing.T) {
	for _, c := range []struct{ nodes, want string }{
		{"", ""},
		{"a", "a=voter"},
		{"a=voter b", "a=voter b=learner"},
		{"a=voter b=learner c", "a=voter b=voter c=voter"},
		{"a=voter b=voter c=voter d", "a=voter b=voter c=voter"},
		{"a=voter b=voter c=voter d e", "a=voter b=voter c=voter d=voter e=voter"},
		{"a=voter b=voter c=voter!dead", "a=voter b=voter c=voter"},
		{"a=voter b=voter!dead c=voter d", "a=voter c=voter d=voter"},
		{"a=voter b c", "a=voter b=voter c=voter"},
		{"a=voter@x b=voter@x c@x d@y", "a=voter b=voter d=voter"},
		{"a=voter b!dead", "a=voter b=learner"},
		{"a=voter!dead b=learner", "a=learner b=voter"},
		{"a=voter w!worker x!worker", "a=voter"},
		{"a=voter w!worker b", "a=voter b=learner"},
		{"a=voter w!worker b c!dead", "a=voter b=voter c=voter"},
		{"a=voter!dead w!worker", "a=voter"},
	} {
		s, seen, changes := cloud.NewState(), cloud.NewInstances(), []cloud.Change{}
		for k, text := range strings.Fields(c.nodes) {
			text, worker := strings.CutSuffix(text, "!worker")
			text, dead := strings.CutSuffix(text, "!dead")
			text, zone, _ := strings.Cut(text, "@")
			name, kept, _ := strings.Cut(text, "=")
			n := &cloud.Node{
				Name: cloud.NodeName(name), Copy: cloud.StoreCopy(kept), Joined: time.Unix(int64(k), 0), Labels: map[string]string{cloud.ZoneLabel: zone},
				Addr: netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:1", k+1)), Worker: worker,
			}
			changes = append(changes, cloud.Put(n))
			seen = seen.WithNode(&cloud.NodeStatus{Name: n.Name, Alive: !dead})
		}
		var got []string
		for name, kept := range Copies(cloud.View{State: s.Apply(1, changes), Instances: seen}) {
			got = append(got, string(name)+"="+string(kept))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %v, want %s", c.nodes, got, c.want)
		}
	}
}
