package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func toFlag() *urfave.StringFlag {
	return &urfave.StringFlag{Name: "to", Usage: "the release `APP@rN` to go to"}
}

func rebindFlag() urfave.Flag {
	return newRepeated("rebind", "", "have the release use another service, as `OLD=NEW`; may be repeated")
}

// rebinds reads the services to use instead of others.
func rebinds(u *urfave.Context) (map[cloud.AppName]cloud.AppName, error) {
	var all map[cloud.AppName]cloud.AppName
	for _, text := range valuesOf(u, "rebind") {
		from, to, ok := strings.Cut(text, "=")
		if !ok || from == "" || to == "" {
			return nil, cloud.Errorf(cloud.Invalid, "--rebind %q does not name two services", text).WithHint("for example --rebind testdb=proddb")
		}
		if all == nil {
			all = map[cloud.AppName]cloud.AppName{}
		}
		all[cloud.AppName(from)] = cloud.AppName(to)
	}
	return all, nil
}

func (c *command) crossfade() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag, yesFlag, detach, toFlag(), rebindFlag(),
		&urfave.IntFlag{Name: "budget", Usage: "how many `REQUESTS` a bad release may harm (default 20)"},
		&urfave.DurationFlag{Name: "over", Usage: "`TIME` from the first share to the end at least (default 5m, with --steps 10m)"},
		&urfave.StringFlag{Name: "steps", Usage: "`PERCENT,…` rising to 100 (default: as the budget allows)"},
		&urfave.StringFlag{Name: "guard", Usage: "`WHAT` to guard: errors,latency (default), cpu, memory, logs; or none"},
		&urfave.StringFlag{Name: "unit", Usage: "`WHAT` counts once: request, or client on a sticky route (default request)"},
		&urfave.Float64Flag{Name: "errors-margin", Usage: "errors may grow by `POINTS` percentage points (default 0.5)"},
		&urfave.Float64Flag{Name: "latency-margin", Usage: "the 95th percentile may grow by `PERCENT` (default 20)"},
		&urfave.DurationFlag{Name: "max", Usage: "`TIME` to wait at most for evidence (default 30m)"},
		&urfave.StringFlag{Name: "on-inconclusive", Usage: "what to `DO` then, with some sign of harm: abort, hold or go (default abort)"},
	}
	begin := c.new("crossfade", "HOST[/PATH]", "move a host to another release in steps, and back if that is worse", 1, 1, flags, c.with(c.beginCrossfade))
	for _, verb := range []struct{ name, usage string }{
		{"pause", "pause a cross-fade at its step"},
		{"resume", "resume the cross-fade"},
		{"abort", "route the host back to the old release"},
	} {
		begin.Subcommands = append(begin.Subcommands, c.new(verb.name, "HOST[/PATH]", verb.usage, 1, 1, []urfave.Flag{groupFlag, jsonFlag},
			c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
				host, path, err := hostPath(u.Args().First())
				if err != nil {
					return err
				}
				return c.done(u)(client.SteerCrossfade(ctx, c.group(u), verb.name, api.Fading{Host: string(host), Path: path}))
			})))
	}
	begin.Subcommands = append(begin.Subcommands, c.showFades())
	return begin
}

func (c *command) cutover() *urfave.Command {
	return c.new("cutover", "HOST[/PATH]", "move a host to another release at once, when that is ready", 1, 1, []urfave.Flag{groupFlag, jsonFlag, yesFlag, detach, toFlag(), rebindFlag()},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			return c.fade(ctx, u, client, api.Crossfading{Cutover: true})
		}))
}

func (c *command) beginCrossfade(ctx context.Context, u *urfave.Context, client *api.Client) error {
	for _, name := range []string{"over", "max"} {
		if err := noZero(u, name); err != nil {
			return err
		}
	}
	f := api.Crossfading{Over: cloud.Duration(u.Duration("over")), Max: cloud.Duration(u.Duration("max")), Then: cloud.Inconclusive(u.String("on-inconclusive")), Unit: cloud.Unit(u.String("unit"))}
	for s := range strings.SplitSeq(u.String("steps"), ",") {
		if !u.IsSet("steps") {
			break
		}
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return cloud.Errorf(cloud.Invalid, "step %q is not a percentage", s).WithHint("for example --steps 1,5,20,50,100")
		}
		f.Steps = append(f.Steps, n)
	}
	if u.IsSet("budget") {
		budget := u.Int("budget")
		f.Budget = &budget
	}
	if g := u.String("guard"); g != "" {
		f.Guards = strings.Split(g, ",")
	}
	for name, margin := range map[string]**float64{"errors-margin": &f.Errors, "latency-margin": &f.Latency} {
		if v := u.Float64(name) / 100; math.IsNaN(v) || math.IsInf(v, 0) {
			return cloud.Errorf(cloud.Invalid, "invalid margin %g", v).WithHint("for example --%s 1", name)
		} else if u.IsSet(name) {
			*margin = &v
		}
	}
	return c.fade(ctx, u, client, f)
}

// noZero refuses a time of nothing, which the API would take for none given.
func noZero(u *urfave.Context, name string) error {
	if u.IsSet(name) && u.Duration(name) == 0 {
		return cloud.Errorf(cloud.Invalid, "--%s must be more than 0", name).WithCommand("micro %s --help", u.Command.Name)
	}
	return nil
}

// fade begins a cross-fade or cutover, and shows how it goes until it has ended.
func (c *command) fade(ctx context.Context, u *urfave.Context, client *api.Client, f api.Crossfading) error {
	host, path, err := hostPath(u.Args().First())
	if err != nil {
		return err
	}
	if u.String("to") == "" {
		return cloud.Errorf(cloud.Invalid, "which release should %s move to?", host).WithCommand("micro %s %s --to APP@rN", u.Command.Name, host)
	}
	to, err := c.ref(u, u.String("to"))
	if err != nil {
		return err
	}
	f.Host, f.Path, f.App, f.Release, f.Force = string(host), path, to.App, to.N, u.Bool("yes")
	if f.Rebind, err = rebinds(u); err != nil {
		return err
	}
	changed, err := client.Crossfade(ctx, c.group(u), f)
	if err != nil {
		return err
	}
	if u.Bool("detach") {
		return c.done(u)(changed, nil)
	}
	return c.watchFade(ctx, u, client, host, path)
}

// watchFade prints every step of a fade, and how it ended. Ctrl-C leaves it to itself.
func (c *command) watchFade(ctx context.Context, u *urfave.Context, client *api.Client, host cloud.Host, path string) error {
	said, foretold := "", false
	for {
		cmp, err := client.Compare(ctx, c.group(u), string(host), path)
		switch {
		case ctx.Err() != nil:
			c.say("the cross-fade goes on; micro compare %s shows it, micro crossfade abort %s ends it", host, host)
			return ctx.Err()
		case cloud.CodeOf(err) == cloud.Unavailable: // the node is being restarted; the fade goes on after that
		case err != nil:
			return err
		case cmp.Fade == nil:
			return c.faded(u, cmp)
		default:
			if text := outlook(cmp.Step); text != "" && !foretold && !u.Bool("json") {
				foretold = true
				c.say("%s", text)
			}
			// Once for each share and state: the figures of the reason change with every request.
			if now := fadeState(cmp); now != said && !u.Bool("json") {
				said = now
				c.say("%s", fadeLine(cmp))
			}
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// percentage shows a share: "25 %", "0.3 %".
func percentage(share float64) string {
	return strconv.FormatFloat(math.Round(share*100)/100, 'f', -1, 64) + " %"
}

// outlook says how a cross-fade is expected to go, "" while nothing is known.
func outlook(s *api.FadeStep) string {
	if s == nil || s.Rate <= 0 {
		return ""
	}
	text := fmt.Sprintf("about %.3g requests a second", s.Rate)
	if s.Through > 0 {
		text += fmt.Sprintf(": through in some %s if the release is good", about(s.Through))
	}
	if s.Caught > 0 {
		text += fmt.Sprintf("; one that fails 5 %% is caught after about %d harmed requests", s.Caught)
	}
	return text
}

// about shows seconds without false precision.
func about(seconds float64) string {
	if seconds < 90 {
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}

// fadeState names what fadeLine shows, without figures that change all the time.
func fadeState(cmp api.Comparison) string {
	state := percentage(cmp.Fade.Share)
	if s := cmp.Step; s != nil && (s.Move == "hold" || cmp.Fade.Step == 0 || cmp.Fade.Paused) {
		state += " " + s.Move + " " + s.Verdict
		if cmp.Fade.Step == 0 {
			state += " " + s.Why
		}
	}
	return state
}

func fadeLine(cmp api.Comparison) string {
	line := fmt.Sprintf("%s %s", cmp.Fade.To, percentage(cmp.Fade.Share))
	if cmp.Step == nil {
		return line
	}
	switch cmp.Step.Move {
	case "hold":
		return line + ": " + cmp.Step.Why
	case "stay":
		if cmp.Fade.Step == 0 || cmp.Fade.Paused {
			return line + ": " + cmp.Step.Why
		}
	}
	return line
}

// faded prints how a cross-fade ended.
func (c *command) faded(u *urfave.Context, cmp api.Comparison) error {
	if u.Bool("json") {
		if err := c.printJSON(cmp); err != nil {
			return err
		}
	}
	switch {
	case cmp.Faded == nil:
		return cloud.Errorf(cloud.Conflict, "the cross-fade of %s was ended by another change", cmp.Host).WithCommand("micro routes")
	case !cmp.Faded.Finished:
		return cloud.Errorf(cloud.DeployFailed, "%s was rolled back to %s: %s", cmp.Host, cmp.Faded.From, cmp.Faded.Reason).WithCommand("micro compare %s", cmp.Host)
	}
	c.say("%s routes to %s", cmp.Host, cmp.Faded.To)
	return nil
}

func (c *command) compare() *urfave.Command {
	return c.new("compare", "HOST[/PATH]", "compare the releases that a host routes to", 1, 1, []urfave.Flag{groupFlag, jsonFlag, followFlag()},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			host, path, err := hostPath(u.Args().First())
			if err != nil {
				return err
			}
			return c.follow(ctx, u, func(c *command) error {
				cmp, err := client.Compare(ctx, c.group(u), string(host), path)
				if err != nil {
					return err
				}
				if u.Bool("json") {
					return c.printRound(u, cmp)
				}
				return c.printComparison(cmp)
			})
		}))
}

func (c *command) printComparison(cmp api.Comparison) error {
	c.print("%s%s since %s", cmp.Host, strings.TrimSuffix(cmp.Path, "/"), cmp.Since.Format("2006-01-02 15:04:05 MST"))
	var rows [][]string
	for _, r := range cmp.Releases {
		share := ""
		if r.Share != nil {
			share = strconv.FormatFloat(math.Round(*r.Share*10)/10, 'f', -1, 64) + " %"
		}
		errors := "0"
		if r.Errors > 0 {
			errors = fmt.Sprintf("%d (%.2f %%)", r.Errors, 100*float64(r.Errors)/float64(max(1, r.Requests)))
		}
		if r.Gone > 0 {
			errors += fmt.Sprintf(", %d gave up", r.Gone)
		}
		m := lastMinute(r.Minute)
		rows = append(rows, []string{
			r.ReleaseName.String(), share, strconv.Itoa(r.Ready), strconv.FormatUint(r.Requests, 10), m.rate, errors,
			ms(r.P50), ms(r.P95), ms(r.P99), m.errors, m.p95, fmt.Sprintf("%.1fs", r.CPU), sizeOf(r.Memory),
		})
	}
	if err := c.table([]string{"RELEASE", "SHARE", "READY", "REQUESTS", "RATE", "ERRORS", "P50", "P95", "P99", "1M ERRORS", "1M P95", "CPU", "MEMORY"}, rows,
		"MEMORY", "CPU", "1M P95", "P50", "P99", "1M ERRORS", "READY"); err != nil {
		return err
	}
	c.printMissing(cmp.Missing)
	for _, m := range cmp.Mirrors {
		c.print("copies to %s: %d answered, %d of them with another status, p95 %s where the original took %s; %d failed, %d not sent",
			m.ReleaseName, m.Answered, m.Differ, ms(m.P95), ms(m.OriginalP95), m.Failed, m.Dropped)
	}
	if s := cmp.Step; s != nil {
		if cmp.Fade != nil {
			c.print("cross-fade to %s at %s: %s (%s: %s)", cmp.Fade.To, percentage(cmp.Fade.Share), s.Verdict, s.Move, s.Why)
			if err := c.printStep(s); err != nil {
				return err
			}
		} else {
			c.print("%s beside %s, since %s: %s", s.To, s.From, s.Since.Format("15:04:05"), s.Verdict)
		}
		for _, f := range s.Findings {
			c.print("  %s: %s: %s", f.Guard, f.Verdict, f.Text)
		}
	}
	if f := cmp.Faded; f != nil {
		how := "moved to " + f.To.String()
		if !f.Finished {
			how = fmt.Sprintf("rolled back to %s from %s: %s", f.From, percentage(f.Share), f.Reason)
		}
		c.print("the last cross-fade ended %s ago and %s", ago(f.Ended), how)
	}
	return nil
}

// ms shows a time that was measured, and nothing where none was.
func ms(v float64) string {
	if v == 0 {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + "ms"
}

func (c *command) pass() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.DurationFlag{Name: "for", Usage: "how long it stays valid, as `TIME` 10m or 2h (default 1h)"}}
	return c.new("pass", "HOST APP@rN", "make a header that lets a public client choose a release", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			host, _, err := hostPath(u.Args().First())
			if err != nil {
				return err
			}
			ref, err := c.ref(u, u.Args().Get(1))
			if err != nil {
				return err
			}
			if ref.N == 0 {
				return cloud.Errorf(cloud.Invalid, "which release of %s is the pass for?", ref.AppRef).WithCommand("micro releases %s", ref.AppRef)
			}
			if err := noZero(u, "for"); err != nil {
				return err
			}
			p, err := client.Pass(ctx, ref.Group, api.PassRequest{Host: string(host), App: ref.App, Release: ref.N, For: cloud.Duration(u.Duration("for"))})
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(p)
			}
			c.print("%s: %s", p.Header, p.Value)
			return nil
		}))
}
