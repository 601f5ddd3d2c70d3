package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) ps() *urfave.Command {
	return c.new("ps", "[APP[@rN]]", "list instances", 0, 1, append([]urfave.Flag{groupFlag, jsonFlag, followFlag()}, instanceFlags()...),
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			var before usage
			return c.follow(ctx, u, func(c *command) error {
				list, hidden, err := c.instances(ctx, u, client)
				if err != nil || u.Bool("json") {
					return err
				}
				var rows [][]string
				for _, i := range list {
					rows = append(rows, []string{
						slot(i), string(i.Phase), number(i.PID), i.Address, string(i.Node), strconv.Itoa(i.Restarts),
						before.share(i), used(i), processes(i), requests(i), since(i), reason(i),
					})
				}
				before = usageOf(list)
				err = c.table([]string{"INSTANCE", "PHASE", "PID", "ADDRESS", "NODE", "RESTARTS", "CPU", "MEMORY", "PROCESSES", "REQUESTS", "SINCE", "WHY"}, rows)
				if err != nil || u.Bool("follow") {
					return err
				}
				if hidden > 0 {
					c.say("%d more of releases that serve no requests now: micro ps --all", hidden)
				}
				return c.sayIdle(ctx, u, client)
			})
		}))
}

// sayIdle names the processes of which the table has no instance because none is wanted.
func (c *command) sayIdle(ctx context.Context, u *urfave.Context, client *api.Client) error {
	var apps []api.App
	var err error
	if arg := u.Args().First(); arg == "" {
		apps, err = client.Apps(ctx, c.group(u))
	} else if ref, perr := c.ref(u, arg); perr == nil && ref.N == 0 {
		apps = make([]api.App, 1)
		apps[0], err = client.App(ctx, ref.AppRef)
	}
	for _, a := range apps {
		for _, name := range a.Idle {
			if a.Phase != cloud.PhaseStopped {
				c.say("process %s of %s has 0 instances: micro scale %s %s=1", name, a.Name, a.Name, name)
			}
		}
	}
	return err
}

func (c *command) stats() *urfave.Command {
	return c.new("stats", "[APP[@rN]]", "show what instances use, and the requests of their releases", 0, 1, append([]urfave.Flag{groupFlag, jsonFlag, followFlag()}, instanceFlags()...),
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			var before usage
			return c.follow(ctx, u, func(c *command) error {
				list, _, err := c.instances(ctx, u, client)
				if err != nil || u.Bool("json") {
					return err
				}
				var rows [][]string
				for _, i := range list {
					rows = append(rows, []string{slot(i), string(i.Phase), before.share(i), used(i), processes(i), strconv.Itoa(i.Restarts), requests(i)})
				}
				if err := c.table([]string{"INSTANCE", "PHASE", "CPU", "MEMORY", "PROCESSES", "RESTARTS", "REQUESTS"}, rows, "PROCESSES", "RESTARTS"); err != nil {
					return err
				}
				before = usageOf(list)
				return c.figures(ctx, u, client)
			})
		}))
}

// figures prints the requests of the releases that the command's argument names.
func (c *command) figures(ctx context.Context, u *urfave.Context, client *api.Client) error {
	ref := cloud.ReleaseRef{AppRef: cloud.AppRef{Group: c.group(u)}}
	if arg := u.Args().First(); arg != "" {
		var err error
		if ref, err = c.ref(u, arg); err != nil {
			return err
		}
	}
	list, err := client.Figures(ctx, ref.Group, ref.App)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range list {
		if ref.N != 0 && f.Release != ref.N {
			continue
		}
		m := lastMinute(f.Minute)
		rows = append(rows, []string{
			cloud.AppRef{Group: f.Group, App: f.App}.Release(f.Release).String(), m.rate,
			strconv.FormatUint(f.Requests, 10), strconv.FormatUint(f.Errors, 10), strconv.FormatInt(f.InFlight, 10), ms(f.P50), ms(f.P95), ms(f.P99),
			m.errors, m.p95,
		})
	}
	if len(rows) == 0 {
		return nil
	}
	c.print("")
	defer c.printMissing(list[0].Missing)
	return c.table([]string{"RELEASE", "RATE", "REQUESTS", "ERRORS", "IN FLIGHT", "P50", "P95", "P99", "1M ERRORS", "1M P95"}, rows, "1M P95", "P50", "IN FLIGHT", "P99", "1M ERRORS")
}

// printMissing names the routers whose last counts are in no figure.
func (c *command) printMissing(missing []api.MissingCounts) {
	for _, m := range missing {
		c.print("without what the router of node %s counted after %s", m.Node, m.After.Format("2006-01-02 15:04:05 MST"))
	}
}

// minute is what tables show of the last minute.
type minute struct{ rate, errors, p95 string }

func lastMinute(m *api.LastMinute) minute {
	if m == nil { // of a node that does not say
		return minute{"-", "-", "-"}
	}
	return minute{fmt.Sprintf("%.1f/s", m.Rate), strconv.FormatUint(m.Errors, 10), ms(m.P95)}
}

func slot(i api.Instance) string {
	return cloud.Slot{
		ReleaseRef: cloud.AppRef{Group: i.Group, App: i.App}.Release(i.Release), Process: i.Process, Index: i.Index,
	}.String()
}

func number(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

func used(i api.Instance) string {
	if i.Memory == nil {
		return ""
	}
	return sizeOf(*i.Memory) + "/" + sizeOf(i.MemoryLimit)
}

func processes(i api.Instance) string {
	if i.Processes == nil {
		return ""
	}
	text := strconv.FormatInt(*i.Processes, 10)
	switch {
	case i.Zombies == nil || *i.Zombies == 0:
		return text
	case *i.Zombies == 1:
		return text + " + 1 zombie"
	}
	return text + fmt.Sprintf(" + %d zombies", *i.Zombies)
}

func requests(i api.Instance) string {
	if i.Requests == nil {
		return ""
	}
	return strconv.FormatUint(*i.Requests, 10)
}

// usage is the processor time that instances had used at a time.
type usage struct {
	at  time.Time
	cpu map[cloud.InstanceID]float64
}

func usageOf(list []api.Instance) usage {
	u := usage{at: time.Now(), cpu: map[cloud.InstanceID]float64{}}
	for _, i := range list {
		if i.CPU != nil {
			u.cpu[i.Instance] = *i.CPU
		}
	}
	return u
}

// share is how much of a core an instance has used since, or on average since its start.
func (u usage) share(i api.Instance) string {
	if i.CPU == nil {
		return ""
	}
	was, ok := u.cpu[i.Instance]
	from := u.at
	if !ok {
		if i.Started == nil {
			return ""
		}
		from = *i.Started
	}
	passed := time.Since(from).Seconds()
	if passed <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", max(0, (*i.CPU-was)/passed*100))
}

func since(i api.Instance) string {
	if i.Since == nil {
		return ""
	}
	return ago(*i.Since)
}

func reason(i api.Instance) string {
	text := cmp.Or(i.Reason, i.Ended)
	if i.NextTry != nil && time.Until(*i.NextTry) > 0 {
		text += fmt.Sprintf(" (next try in %s)", time.Until(*i.NextTry).Round(time.Second))
	}
	return text
}
