package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// parityResult says how a line of two clouds compares.
type parityResult string

const (
	paritySame    parityResult = "same"
	parityDiffers parityResult = "differs"
	parityScale   parityResult = "scale" // how large the clouds are
	parityOwn     parityResult = "own"   // what each cloud has for itself
)

// parityLine is one line of two clouds side by side.
type parityLine struct {
	Name   string       `json:"name"`
	Here   string       `json:"here" doc:"- for nothing. Where the nodes of a cloud differ, each value with the nodes that have it"`
	There  string       `json:"there"`
	Result parityResult `json:"result" enum:"same,differs,scale,own" doc:"scale: how large the clouds are; own: what each cloud has for itself. Neither is a difference"`
}

// parity is the outcome of a comparison.
type parity struct {
	Here  string       `json:"here" doc:"The target, or the URL, of the cloud that was asked first"`
	There string       `json:"there" doc:"The other one's"`
	Equal bool         `json:"equal" doc:"No line differs"`
	Lines []parityLine `json:"rows"`
}

func (c *command) parity() *urfave.Command {
	return c.new("parity", "TARGET", "compare this cloud with another one, and name what differs", 1, 1, []urfave.Flag{
		jsonFlag, &urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show also what is the same"},
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		name := u.Args().First()
		other, err := c.clientOf(name)
		if err != nil {
			return err
		}
		defer other.Close()
		here, err := client.Profile(ctx)
		if err != nil {
			return err
		}
		there, err := other.Profile(ctx)
		if err != nil && !strings.Contains(err.Error(), name) {
			return cloud.Errorf(cloud.CodeOf(err), "%s: %w", name, err).WithHintOf(err)
		}
		if err != nil {
			return err
		}
		p := parity{Here: c.currentName(), There: name, Equal: true, Lines: compareProfiles(here, there)}
		count := 0
		for _, l := range p.Lines {
			if l.Result == parityDiffers {
				p.Equal = false
				count++
			}
		}
		if u.Bool("json") {
			err = c.printJSON(p)
		} else {
			err = c.printParity(p, u.Bool("all"))
		}
		switch {
		case err != nil:
			return err
		case count > 0:
			c.say("%s and %s differ in %s", p.Here, p.There, plural(count, "line"))
			return exit(cloud.Internal.Exit())
		}
		c.say("%s and %s are equal in all but scale: %s are the same", p.Here, p.There, plural(len(p.Lines)-countOf(p.Lines, parityScale, parityOwn), "line"))
		return nil
	}))
}

func countOf(lines []parityLine, results ...parityResult) (n int) {
	for _, l := range lines {
		if slices.Contains(results, l.Result) {
			n++
		}
	}
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// currentName is how the cloud that commands go to is called: its target's name, or its URL.
func (c *command) currentName() string {
	name, t, err := c.chosen()
	if err != nil {
		return "this cloud"
	}
	return cmp.Or(name, t.URL)
}

func (c *command) printParity(p parity, all bool) error {
	var rows [][]string
	for _, l := range p.Lines {
		if all || l.Result != paritySame {
			rows = append(rows, []string{l.Name, shortDigests(l.Here), shortDigests(l.There), string(l.Result)})
		}
	}
	return c.table([]string{"WHAT", "HERE", "THERE", "RESULT"}, rows)
}

// shortDigests shortens the digests in a text so that it fits a terminal.
func shortDigests(text string) string {
	const prefix, long, shown = "sha256:", 64, 12
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, prefix)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteString(prefix)
		if text = after; len(after) >= long {
			b.WriteString(after[:shown])
			text = after[long:]
		}
	}
}

// compareProfiles compares two clouds. Values that differ between the nodes of one cloud are a set: how many nodes have
// which value is scale. What differs comes first, then what is the same, in the order of names.
func compareProfiles(here, there api.Profile) (lines []parityLine) {
	a, b := valuesByFact(here), valuesByFact(there)
	names := slices.Sorted(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		x, y := a[name], b[name]
		kind := cmp.Or(x.kind, y.kind)
		if kind == api.MustEqualIfShared && (x.kind == "" || y.kind == "") {
			continue
		}
		l := parityLine{Name: name, Here: x.text(), There: y.text()}
		switch {
		case kind == api.Scale:
			l.Result = parityScale
		case kind == api.Own:
			l.Result = parityOwn
		case slices.Equal(slices.Sorted(maps.Keys(x.nodes)), slices.Sorted(maps.Keys(y.nodes))):
			l.Result = paritySame
		default:
			l.Result = parityDiffers
		}
		lines = append(lines, l)
	}
	order := []parityResult{parityDiffers, paritySame, parityScale, parityOwn}
	slices.SortStableFunc(lines, func(a, b parityLine) int {
		return cmp.Compare(slices.Index(order, a.Result), slices.Index(order, b.Result))
	})
	return append(silentNodes(here, there), lines...)
}

// silentNodes returns a line for each node that says nothing: nobody knows whether it is as the others are.
func silentNodes(here, there api.Profile) (lines []parityLine) {
	for k, p := range []api.Profile{here, there} {
		for _, n := range p.Nodes {
			if n.Error == "" {
				continue
			}
			l := parityLine{Name: "node " + string(n.Node), Result: parityDiffers}
			if l.Here, l.There = n.Error, "-"; k == 1 {
				l.Here, l.There = l.There, l.Here
			}
			lines = append(lines, l)
		}
	}
	return lines
}

// factValues are the values of a fact in one cloud, with the nodes that have them; the cloud as a whole has no node.
type factValues struct {
	kind  api.FactKind
	nodes map[string][]cloud.NodeName
}

// text shows one value plainly, and several with their nodes.
func (f factValues) text() string {
	var parts []string
	for _, value := range slices.Sorted(maps.Keys(f.nodes)) {
		if len(f.nodes) == 1 {
			return value
		}
		var names []string
		for _, n := range f.nodes[value] {
			names = append(names, string(n))
		}
		parts = append(parts, strings.Join(names, ",")+": "+value)
	}
	return cmp.Or(strings.Join(parts, "; "), "-")
}

// valuesByFact returns the values of all facts of a cloud.
func valuesByFact(p api.Profile) map[string]factValues {
	all := map[string]factValues{}
	add := func(f api.Fact, node cloud.NodeName) {
		v, ok := all[f.Name]
		if !ok {
			v = factValues{f.Kind, map[string][]cloud.NodeName{}}
			all[f.Name] = v
		}
		v.nodes[f.Value] = append(v.nodes[f.Value], node)
	}
	for _, f := range p.Facts {
		add(f, "")
	}
	for _, n := range p.Nodes {
		for _, f := range n.Facts {
			add(f, n.Node)
		}
	}
	return all
}
