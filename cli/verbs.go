package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// verb makes a command about one release that is done when the release is as it asked for.
func (c *command) verb(name, usage string, flags []urfave.Flag, do func(context.Context, *urfave.Context, *api.Client, cloud.ReleaseRef) (api.Changed, error)) *urfave.Command {
	flags = append([]urfave.Flag{groupFlag, jsonFlag, detach}, flags...)
	return c.new(name, "APP[@rN]", usage, 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			changed, err := insist(ctx, func() (api.Changed, error) { return do(ctx, u, client, ref) })
			if err != nil {
				return err
			}
			return c.await(ctx, u, client, ref.AppRef, changed)
		}))
}

func rollout(r api.Rollout) string {
	text := fmt.Sprintf("%s: %d of %d ready", r.Phase, r.Ready, r.Instances)
	if r.Waiting != "" {
		text += " (" + r.Waiting + ")"
	}
	return text
}

// failure is a deploy that failed, as an error that has the app's last lines with it.
func (c *command) failure(p *api.Problem) error { return p.Err() }

func (c *command) outcome(u *urfave.Context, o api.Outcome) error {
	if u.Bool("json") {
		return c.printJSON(o)
	}
	c.say("%s is %s", cloud.AppRef{Group: o.Group, App: o.App}.Release(o.Release), o.Phase)
	for _, url := range o.Addresses {
		c.print("%s", url)
	}
	return nil
}

func (c *command) restart() *urfave.Command {
	return c.verb("restart", "replace the instances of an app or release", nil,
		func(ctx context.Context, _ *urfave.Context, client *api.Client, r cloud.ReleaseRef) (api.Changed, error) {
			return client.Restart(ctx, r)
		})
}

func (c *command) start() *urfave.Command {
	return c.verb("start", "run a stopped app or release again", nil,
		func(ctx context.Context, _ *urfave.Context, client *api.Client, r cloud.ReleaseRef) (api.Changed, error) {
			return client.Start(ctx, r)
		})
}

func (c *command) stop() *urfave.Command {
	return c.verb("stop", "stop the instances of an app or release", []urfave.Flag{yesFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client, r cloud.ReleaseRef) (api.Changed, error) {
			return client.Stop(ctx, r, u.Bool("yes"))
		})
}

func (c *command) promote() *urfave.Command {
	return c.verb("promote", "make a release the app's current one", []urfave.Flag{yesFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client, r cloud.ReleaseRef) (api.Changed, error) {
			if r.N == 0 {
				return api.Changed{}, cloud.Errorf(cloud.Invalid, "promote which release of %s?", r.AppRef).WithCommand("micro releases %s", r.AppRef)
			}
			return client.Promote(ctx, r, u.Bool("yes"))
		})
}

func (c *command) rollback() *urfave.Command {
	return c.new("rollback", "APP [rN]", "make the previous release, or rN, current again", 1, 2, []urfave.Flag{groupFlag, jsonFlag, detach},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			if u.NArg() == 2 {
				if ref.N, err = cloud.ParseRelease(u.Args().Get(1)); err != nil {
					return err
				}
			}
			changed, err := client.Rollback(ctx, ref)
			if api.ConnectionLost(err) {
				// Rolling back twice leads somewhere else, so it is not tried again.
				return cloud.Errorf(cloud.Unavailable, "the connection to the node was lost, and it is unknown whether %s was rolled back: %w", ref, err).WithCommand("micro releases %s", ref.AppRef)
			}
			if err != nil {
				return err
			}
			return c.await(ctx, u, client, ref.AppRef, changed)
		}))
}

func (c *command) delete() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, yesFlag, &urfave.BoolFlag{Name: "volumes", Usage: "delete the app's volumes too, with all that is on them"}}
	return c.new("delete", "APP[@rN]", "delete an app with all its releases, or one release", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			if ref.N != 0 && u.Bool("volumes") {
				return cloud.Errorf(cloud.Invalid, "volumes are the app's, not those of one release").WithCommand("micro delete %s --volumes", ref.AppRef)
			}
			if !u.Bool("yes") {
				if err := c.confirmDelete(ctx, client, ref); err != nil {
					return err
				}
			}
			changed, err := client.Delete(ctx, ref, u.Bool("volumes"))
			if err == nil && u.Bool("json") {
				return c.printJSON(changed)
			}
			if len(changed.Volumes) > 0 {
				fmt.Fprintf(c.Stderr, "kept for the next app of the name: volume %s\n", strings.Join(changed.Volumes, ", "))
			}
			return err
		}))
}

// confirmDelete asks whether an app or a release is to go, if there is one.
func (c *command) confirmDelete(ctx context.Context, client *api.Client, ref cloud.ReleaseRef) error {
	what, question := "release "+ref.String(), fmt.Sprintf("Delete release %s?", ref)
	var err error
	if ref.N == 0 {
		what, question = "app "+ref.String(), fmt.Sprintf("Delete app %s with all its releases?", ref)
		_, err = client.App(ctx, ref.AppRef)
	} else {
		var rel api.Release
		rel, err = client.Release(ctx, ref)
		if p := rel.Phase; err == nil && (p == cloud.PhaseCurrent || p == cloud.PhaseRouted || p == cloud.PhaseStarting && !rel.Staged) {
			// There is nothing to ask: it would be refused.
			err = cloud.Errorf(cloud.Conflict, "release %s is %s, and cannot be deleted", ref, p).WithCommand("micro releases %s", ref.AppRef)
		}
	}
	if err != nil {
		return err
	}
	if yes, _ := c.confirm(question); !yes {
		return cloud.Errorf(cloud.Invalid, "deleting %s: confirm with --yes", what).WithCommand("micro delete %s --yes", ref)
	}
	return nil
}

func (c *command) scale() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag, detach, yesFlag,
		&urfave.IntFlag{Name: "instances", Aliases: []string{"i"}, Usage: "`N` instances of the web process"},
		&urfave.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory `SIZE` of an instance: 256M, 1G"},
		&urfave.StringFlag{Name: "cpu", Usage: "`CORES` of an instance, for example 0.5; 0 is all of the node's"},
		&urfave.StringFlag{Name: "disk", Usage: "`SIZE` of an instance's own files, volumes left out; none is no limit"},
		&urfave.StringFlag{Name: "process", Aliases: []string{"p"}, Value: string(cloud.Web), Usage: "the process `NAME` that -i, -m and --cpu are about (default web)"},
	}
	return c.new("scale", "APP[@rN] [PROCESS=N…]", "change instances, memory and CPU of an app or release, in place", 1, -1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			change := api.ScaleChange{Release: ref.N, Processes: map[cloud.ProcessName]api.ScaleTo{}, Force: u.Bool("yes")}
			if err := scaleFlags(u, change.Processes); err != nil {
				return err
			}
			for _, arg := range u.Args().Tail() {
				name, count, ok := strings.Cut(arg, "=")
				n, err := strconv.Atoi(count)
				if !ok || err != nil || n < 0 {
					return cloud.Errorf(cloud.Invalid, "%q is not PROCESS=N", arg).WithHint("for example micro scale %s worker=3", ref)
				}
				to := change.Processes[cloud.ProcessName(name)]
				if to.Instances != nil {
					return cloud.Errorf(cloud.Invalid, "%q: the number of instances of %s is given twice, first as %d", arg, name, *to.Instances).WithHint("give it once: micro scale %s %s=N", ref, name)
				}
				to.Instances = &n
				change.Processes[cloud.ProcessName(name)] = to
			}
			if len(change.Processes) == 0 {
				return cloud.Errorf(cloud.Invalid, "nothing to change").WithHint("micro scale %s -i 3, or -m 512M, or worker=2", ref)
			}
			changed, err := insist(ctx, func() (api.Changed, error) { return client.Scale(ctx, ref.AppRef, change) })
			if err != nil {
				return err
			}
			return c.await(ctx, u, client, ref.AppRef, changed)
		}))
}

// scaleFlags reads -i, -m and --cpu.
func scaleFlags(u *urfave.Context, to map[cloud.ProcessName]api.ScaleTo) error {
	var s api.ScaleTo
	if u.IsSet("instances") {
		n := u.Int("instances")
		if n < 0 {
			return cloud.Errorf(cloud.Invalid, "--instances %d is less than 0", n).WithHint("--instances N with N from 0 up; micro stop stops all of an app")
		}
		s.Instances = &n
	}
	if u.IsSet("memory") {
		n, err := cloud.ParseSize(u.String("memory"))
		if err != nil {
			return err
		}
		s.Memory = &n
	}
	if u.IsSet("cpu") {
		f, err := strconv.ParseFloat(u.String("cpu"), 64)
		if err != nil || f < 0 || f > 10000 {
			return cloud.Errorf(cloud.Invalid, "%q is not a number of cores", u.String("cpu")).WithHint("for example --cpu 0.5")
		}
		n := int64(f * 1000)
		s.CPU = &n
	}
	if u.IsSet("disk") {
		n, err := diskOf(u)
		if err != nil {
			return err
		}
		s.Disk = n
	}
	if s != (api.ScaleTo{}) {
		to[cloud.ProcessName(u.String("process"))] = s
	}
	return nil
}

// diskOf reads --disk.
func diskOf(u *urfave.Context) (*int64, error) {
	if u.String("disk") == "none" {
		return new(int64), nil
	}
	n, err := cloud.ParseSize(u.String("disk"))
	return &n, err
}

func (c *command) env() *urfave.Command {
	return c.new("env", "APP[@rN] [KEY=VALUE…|KEY-…]", "show or change the environment; a change makes a release", 1, -1, []urfave.Flag{groupFlag, jsonFlag, detach},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			if u.NArg() == 1 {
				env, err := client.Env(ctx, ref)
				if err != nil {
					return err
				}
				if u.Bool("json") {
					return c.printJSON(env)
				}
				if env.Release == 0 {
					c.say("%s has no current release yet: its next one starts with this", ref)
				}
				for _, k := range sorted(env.Env) {
					c.print("%s=%s", k, env.Env[k])
				}
				if len(env.Secrets) > 0 {
					c.say("and the secrets %s: micro secret show %s KEY", strings.Join(env.Secrets, ", "), ref)
				}
				return nil
			}
			change := api.EnvChange{Release: ref.N, Set: map[string]string{}}
			for _, arg := range u.Args().Tail() {
				if k, v, ok := strings.Cut(arg, "="); ok {
					change.Set[k] = v
				} else if k, ok := strings.CutSuffix(arg, "-"); ok {
					change.Unset = append(change.Unset, k)
				} else {
					return cloud.Errorf(cloud.Invalid, "%q is neither KEY=VALUE nor KEY-", arg).WithHint("KEY=VALUE sets, KEY- unsets")
				}
			}
			return c.changeEnv(ctx, u, client, ref, change)
		}))
}
