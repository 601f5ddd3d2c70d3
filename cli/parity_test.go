package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// profileOf reads a profile as lines "NODE NAME=VALUE KIND"; the node "-" stands for the cloud as a whole.
func profileOf(t *testing.T, text string) (p api.Profile) {
	t.Helper()
	nodes := map[string]int{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		name, value, _ := strings.Cut(f[1], "=")
		fact := api.Fact{Name: name, Value: value, Kind: api.MustEqual}
		if len(f) > 2 {
			fact.Kind = api.FactKind(f[2])
		}
		if f[0] == "-" {
			p.Facts = append(p.Facts, fact)
			continue
		}
		k, ok := nodes[f[0]]
		if !ok {
			k = len(p.Nodes)
			nodes[f[0]] = k
			p.Nodes = append(p.Nodes, api.NodeProfile{Node: cloud.NodeName(f[0])})
		}
		if name == "error" {
			p.Nodes[k].Error = value
			continue
		}
		p.Nodes[k].Facts = append(p.Nodes[k].Facts, fact)
	}
	return p
}

func TestCompareProfiles(t *testing.T) {
	for _, c := range []struct{ name, here, there, want string }{
		{"equal in all but scale", "- nodes=1 scale\n- domain=a.test own\nn1 micro=1.0\n", "- nodes=2 scale\n- domain=b.test own\nn1 micro=1.0\nn2 micro=1.0\n",
			"micro 1.0 1.0 same\nnodes 1 2 scale\ndomain a.test b.test own\n"},
		{"one node is newer", "n1 micro=1.0\n", "n1 micro=1.0\nn2 micro=1.1\nn3 micro=1.1\n", "micro 1.0 n1: 1.0; n2,n3: 1.1 differs\n"},
		{"the same mix, in other numbers", "n1 micro=1.0\nn2 micro=1.1\n", "x micro=1.1\ny micro=1.0\nz micro=1.1\n", "micro n1: 1.0; n2: 1.1 y: 1.0; x,z: 1.1 same\n"},
		{"only one has it", "n1 base=x\nn1 a=1\n", "n1 a=1\n", "base x - differs\na 1 1 same\n"},
		{"only the other has it", "n1 a=1\n", "n1 a=1\n- kind=z\n", "kind - z differs\na 1 1 same\n"},
		{"a route that one of them lacks", "- r/=5s shared\n- q/=1s shared\n", "- r/=6s shared\n", "r/ 5s 6s differs\n"},
		{"a node that says nothing", "n1 a=1\nn2 error=dead\n", "n1 a=1\n", "node n2 dead - differs\na 1 1 same\n"},
		{"a node there that says nothing", "n1 a=1\n", "n1 a=1\nn2 error=dead\n", "node n2 - dead differs\na 1 1 same\n"},
	} {
		var got strings.Builder
		for _, l := range compareProfiles(profileOf(t, c.here), profileOf(t, c.there)) {
			fmt.Fprintln(&got, l.Name, l.Here, l.There, l.Result)
		}
		if got.String() != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, &got, c.want)
		}
	}
}

func TestShortDigests(t *testing.T) {
	long := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for in, want := range map[string]string{
		"": "", "1.0": "1.0", long: "sha256:0123456789ab", "n1: " + long + "; n2: " + long: "n1: sha256:0123456789ab; n2: sha256:0123456789ab", "sha256:short": "sha256:short",
	} {
		if got := shortDigests(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
