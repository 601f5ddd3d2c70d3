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
	return c.new("ps", "[APP[@rN]]", "list instances", 0, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := c.instances(ctx, u, client, true)
			if err != nil || u.Bool("json") {
				return err
			}
			var rows [][]string
			for _, i := range list {
				rows = append(rows, []string{
					slot(i), string(i.Phase), number(i.PID), i.Address, string(i.Node), strconv.Itoa(i.Restarts),
					used(i), since(i), reason(i),
				})
			}
			return c.table([]string{"INSTANCE", "PHASE", "PID", "ADDRESS", "NODE", "RESTARTS", "MEMORY", "SINCE", "WHY"}, rows)
		}))
}

func (c *command) stats() *urfave.Command {
	follow := &urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "print again every second"}
	return c.new("stats", "[APP[@rN]]", "show what instances use, and the requests of their releases", 0, 1, []urfave.Flag{groupFlag, jsonFlag, follow},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			before := map[cloud.InstanceID]float64{}
			var counted []api.ReleaseFigures
			at := time.Now()
			for round := 0; ; round++ {
				list, err := c.instances(ctx, u, client, round == 0 && !u.Bool("follow") || u.Bool("json"))
				if err != nil {
					return err
				}
				if !u.Bool("json") && (round > 0 || !u.Bool("follow")) {
					passed := time.Since(at).Seconds()
					var rows [][]string
					for _, i := range list {
						rows = append(rows, []string{slot(i), string(i.Phase), share(i, before, passed), used(i), processes(i), strconv.Itoa(i.Restarts)})
					}
					if err := c.table([]string{"INSTANCE", "PHASE", "CPU", "MEMORY", "PROCESSES", "RESTARTS"}, rows); err != nil {
						return err
					}
					if counted, err = c.figures(ctx, u, client, counted, passed); err != nil {
						return err
					}
				}
				if !u.Bool("follow") {
					return nil
				}
				at = time.Now()
				for _, i := range list {
					if i.CPU != nil {
						before[i.Instance] = *i.CPU
					}
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return nil
				}
			}
		}))
}

// figures prints what was asked of the releases that the command's argument names, at the rate since it
// was asked last, else since the node counts. It returns what it had to count from.
func (c *command) figures(ctx context.Context, u *urfave.Context, client *api.Client, before []api.ReleaseFigures, passed float64) ([]api.ReleaseFigures, error) {
	ref := cloud.ReleaseRef{AppRef: cloud.AppRef{Group: c.group(u)}}
	if arg := u.Args().First(); arg != "" {
		var err error
		if ref, err = c.ref(u, arg); err != nil {
			return nil, err
		}
	}
	list, err := client.Figures(ctx, ref.Group, ref.App)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, f := range list {
		if ref.N != 0 && f.Release != ref.N {
			continue
		}
		was, seconds := uint64(0), time.Since(f.Since).Seconds()
		for _, b := range before {
			if b.App == f.App && b.Release == f.Release && b.Since.Equal(f.Since) {
				was, seconds = b.Requests, passed
			}
		}
		rows = append(rows, []string{
			cloud.AppRef{Group: f.Group, App: f.App}.Release(f.Release).String(), fmt.Sprintf("%.1f/s", float64(f.Requests-was)/max(seconds, 0.001)),
			strconv.FormatUint(f.Requests, 10), strconv.FormatUint(f.Errors, 10), strconv.FormatInt(f.InFlight, 10), ms(f.P50), ms(f.P95), ms(f.P99),
		})
	}
	if len(rows) == 0 {
		return list, nil
	}
	c.print("")
	return list, c.table([]string{"RELEASE", "RATE", "REQUESTS", "ERRORS", "IN FLIGHT", "P50", "P95", "P99"}, rows)
}

// instances reads what the command's argument names, and prints it where JSON is asked for.
func (c *command) instances(ctx context.Context, u *urfave.Context, client *api.Client, show bool) ([]api.Instance, error) {
	q := api.InstanceQuery{Stats: true}
	group := c.group(u)
	if arg := u.Args().First(); arg != "" {
		ref, err := c.ref(u, arg)
		if err != nil {
			return nil, err
		}
		if _, err := client.App(ctx, ref.AppRef); err != nil {
			return nil, err
		}
		group, q.App, q.Release = ref.Group, ref.App, ref.N
	}
	list, err := client.Instances(ctx, group, q)
	if err == nil && show && u.Bool("json") {
		err = c.printJSON(list)
	}
	return list, err
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
	return strconv.FormatInt(*i.Processes, 10)
}

// share is how much of a core an instance used since before, or on average since its start.
func share(i api.Instance, before map[cloud.InstanceID]float64, passed float64) string {
	if i.CPU == nil {
		return ""
	}
	was, ok := before[i.Instance]
	if !ok {
		if i.Started == nil {
			return ""
		}
		passed = time.Since(*i.Started).Seconds()
	}
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
