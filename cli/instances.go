package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// instanceFlags say which instances ps and stats show.
func instanceFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.BoolFlag{Name: "all", Usage: "releases that serve no requests too, such as those kept warm"},
		&urfave.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "only process `NAME`"},
		&urfave.StringFlag{Name: "release", Aliases: []string{"r"}, Usage: "only release `rN`"},
		&urfave.StringFlag{Name: "state", Usage: "only instances in `PHASE` ready, unready, crashed …; several with commas"},
	}
}

// instancePhases are the phases that --state takes.
var instancePhases = []api.InstancePhase{
	api.Pending, "starting", "ready", "unready", "draining", "stopping", "exited", api.Crashed, api.Flapping,
}

// instances reads the instances that the command's argument and flags name, and prints them where JSON is asked
// for. Without a release and without --all it leaves out releases that serve nothing; hidden is how many
// instances that were.
func (c *command) instances(ctx context.Context, u *urfave.Context, client *api.Client) (shown []api.Instance, hidden int, err error) {
	q := api.InstanceQuery{Stats: true, Process: cloud.ProcessName(u.String("process"))}
	group := c.group(u)
	if arg := u.Args().First(); arg != "" {
		ref, err := c.ref(u, arg)
		if err != nil {
			return nil, 0, err
		}
		if _, err := client.App(ctx, ref.AppRef); err != nil {
			return nil, 0, err
		}
		group, q.App, q.Release = ref.Group, ref.App, ref.N
	}
	if text := u.String("release"); text != "" {
		n, err := cloud.ParseRelease(text)
		if err != nil {
			return nil, 0, err
		}
		if q.Release != 0 && q.Release != n {
			return nil, 0, cloud.Errorf(cloud.Invalid, "the argument names r%d and --release r%d", q.Release, n).WithHint("name one of them")
		}
		q.Release = n
	}
	states, err := statesOf(u.String("state"))
	if err != nil {
		return nil, 0, err
	}
	list, err := client.Instances(ctx, group, q)
	if err != nil {
		return nil, 0, err
	}
	shown = []api.Instance{}
	for _, i := range list {
		switch {
		case len(states) > 0 && !slices.Contains(states, i.Phase):
		case q.Release == 0 && !u.Bool("all") && serveRank(i.ReleasePhase) == notServing:
			hidden++
		default:
			shown = append(shown, i)
		}
	}
	slices.SortStableFunc(shown, func(a, b api.Instance) int {
		return cmp.Or(strings.Compare(string(a.App), string(b.App)), serveRank(a.ReleasePhase)-serveRank(b.ReleasePhase))
	})
	if u.Bool("json") {
		err = c.printRound(u, shown)
	}
	return shown, hidden, err
}

// statesOf reads the value of --state.
func statesOf(text string) (states []api.InstancePhase, err error) {
	if text == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		state := api.InstancePhase(strings.TrimSpace(name))
		if !slices.Contains(instancePhases, state) {
			var names []string
			for _, p := range instancePhases {
				names = append(names, string(p))
			}
			return nil, cloud.Errorf(cloud.Invalid, "unknown state %q", name).WithHint("the states are %s", strings.Join(names, ", "))
		}
		states = append(states, state)
	}
	return states, nil
}

// notServing is the serveRank of a release that gets no requests.
const notServing = 9

// serveRank orders releases by what they serve: the current one first.
func serveRank(p cloud.Phase) int {
	switch p {
	case cloud.PhaseCurrent:
		return 0
	case cloud.PhaseRouted:
		return 1
	case cloud.PhaseStarting:
		return 2
	case cloud.PhaseStaged:
		return 3
	case cloud.PhaseWarm, cloud.PhaseRetired, cloud.PhasePruned, cloud.PhaseStopped, cloud.PhaseFailed, cloud.PhaseSuperseded, "":
	}
	return notServing
}
