package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (c *command) routes() *urfave.Command {
	return c.new("routes", "[APP[@rN]]", "list hosts and what they route to", 0, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			of := cloud.ReleaseRef{AppRef: cloud.AppRef{Group: c.group(u)}}
			if arg := u.Args().First(); arg != "" {
				var err error
				if of, err = c.ref(u, arg); err != nil {
					return err
				}
				if _, err := client.App(ctx, of.AppRef); err != nil {
					return err
				}
			}
			list, err := client.Routes(ctx, of.Group)
			if err != nil {
				return err
			}
			if of.App != "" {
				list = slices.DeleteFunc(list, func(r api.Route) bool { return !routesTo(r, of) })
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, r := range list {
				owner := "mapped"
				if r.Own {
					owner = "own"
				}
				rows = append(rows, []string{shownRoute(r), string(r.Exposure), owner, targetsOf(r)})
			}
			return c.table([]string{"HOST", "EXPOSURE", "KIND", "ROUTES TO"}, rows)
		}))
}

// routesTo says whether a route has requests for an app, or for a release of it: as a target, by a mirror or by a
// cross-fade.
func routesTo(r api.Route, ref cloud.ReleaseRef) bool {
	named := []cloud.ReleaseRef{}
	for _, t := range r.Targets {
		named = append(named, targetRef(t))
	}
	for _, rule := range r.Rules {
		named = append(named, rule.Ref())
	}
	if r.Mirror != nil {
		named = append(named, r.Mirror.Ref())
	}
	if f := r.Crossfade; f != nil {
		named = append(named, f.From.Ref(), f.To.Ref())
	}
	return slices.ContainsFunc(named, func(n cloud.ReleaseRef) bool {
		return n.AppRef == ref.AppRef && (ref.N == 0 || n.N == ref.N)
	})
}

// targetsOf says what a route names: "95 → shop@r6 (2 ready), 5 → shop@r7 (1 ready)".
func targetsOf(r api.Route) string {
	var to []string
	for _, t := range r.Targets {
		text := fmt.Sprintf("%s (%d ready)", targetRef(t), t.Ready)
		if t.Weight != nil {
			text = strconv.Itoa(*t.Weight) + " → " + text
		}
		to = append(to, text)
	}
	for _, rule := range r.Rules {
		to = append(to, fmt.Sprintf("[%s] → %s", rule.When, rule.ReleaseName))
	}
	if m := r.Mirror; m != nil {
		to = append(to, fmt.Sprintf("%d%% copied → %s", m.Percent, m.ReleaseName))
	}
	for _, name := range sorted(r.Limits) {
		to = append(to, name+" "+r.Limits[name])
	}
	if r.Passthrough {
		to = append(to, "TLS is the app's")
	}
	if r.ProxyProtocol {
		to = append(to, "PROXY protocol")
	}
	if r.Fault != "" {
		to = append(to, r.Fault)
	}
	if r.Login != "" {
		to = append(to, "log-in of group "+string(r.Login))
	}
	return strings.Join(to, ", ")
}

func targetRef(t api.Target) cloud.ReleaseRef {
	return cloud.AppRef{Group: t.Group, App: t.App}.Release(t.Release)
}

func (c *command) mapCommand() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag, yesFlag,
		&urfave.BoolFlag{Name: "public", Usage: "answer on the public listeners too"},
		&urfave.StringFlag{Name: "sticky", Usage: "keep clients with release and instance: cookie, client, `header:NAME` or none"},
		&urfave.BoolFlag{Name: "headers", Usage: "name release and instance in every answer; --headers=false ends that"},
		&urfave.BoolFlag{Name: "passthrough", Usage: "leave TLS to the app: pass connections for the host on as they are"},
		&urfave.BoolFlag{Name: "proxy-protocol", Usage: "begin connections that are passed on with a PROXY header (v2)"},
		&urfave.IntFlag{Name: "weight", Aliases: []string{"w"}, Usage: "`PERCENT` of the requests; the other targets share the rest"},
	}
	flags = append(append(flags, hostFlags()...), limitFlags()...)
	return c.new("map", "APP[@rN] HOST[/PATH]|tcp:PORT", "route a host or a TCP port to an app or release", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			host, path, err := hostPath(u.Args().Get(1))
			if err != nil {
				return err
			}
			m := api.Mapping{Host: string(host), Path: path, App: ref.App, Release: ref.N, Public: u.Bool("public"), Force: u.Bool("yes")}
			if u.IsSet("weight") {
				w := u.Int("weight")
				m.Weight = &w
			}
			m.Sticky, m.Limits = u.String("sticky"), limitsOf(u)
			m.Headers = said(u, "headers")
			m.Passthrough, m.ProxyProtocol = said(u, "passthrough"), said(u, "proxy-protocol")
			if err := setHost(u, &m); err != nil {
				return err
			}
			changed, err := client.Map(ctx, ref.Group, m)
			if err := c.routed(u)(changed, err); err != nil {
				return err
			}
			if !u.Bool("json") {
				for _, r := range changed.Routes {
					c.sayShared(r, ref)
					if r.Host.Port() != 0 {
						c.print("%s", strings.Join(r.Addresses, "\n"))
					}
				}
				if r := changed.Routes; u.Bool("require-login") && len(r) > 0 && r[0].Exposure == cloud.ExposedPublic && !r[0].HTTPSOnly {
					c.say("passwords are sent without TLS: add --https-only, where the node has a public listener with TLS")
				}
			}
			if !m.Public || host.Port() != 0 || u.Bool("passthrough") {
				return nil
			}
			return c.awaitCertificate(ctx, client, ref.Group, string(host), u.Duration("wait"))
		}))
}

// said returns a flag's value where it is given.
func said(u *urfave.Context, flag string) *bool {
	if !u.IsSet(flag) {
		return nil
	}
	on := u.Bool(flag)
	return &on
}

func (c *command) unmap() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, yesFlag, &urfave.BoolFlag{Name: "release-host", Usage: "give the host up, with all its routes"}}
	return c.new("unmap", "[APP[@rN]] HOST[/PATH]", "remove an app or release from a host", 1, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			host, path, err := hostPath(u.Args().Get(u.NArg() - 1))
			if err != nil {
				return err
			}
			m := api.Unmapping{Host: string(host), Path: path, Force: u.Bool("yes"), ReleaseHost: u.Bool("release-host")}
			group := c.group(u)
			switch {
			case m.ReleaseHost && u.NArg() == 1:
			case !m.ReleaseHost && u.NArg() == 2:
				ref, err := c.ref(u, u.Args().First())
				if err != nil {
					return err
				}
				group, m.App, m.Release = ref.Group, ref.App, ref.N
			default:
				return cloud.Errorf(cloud.Invalid, "unmap needs APP and HOST, or HOST with --release-host").WithCommand("micro unmap shop www.example.com")
			}
			changed, err := client.Unmap(ctx, group, m)
			if err := c.routed(u)(changed, err); err != nil || u.Bool("json") {
				return err
			}
			if m.ReleaseHost {
				c.print("%s is not mapped any more", host)
			}
			return nil
		}))
}

func (c *command) traffic() *urfave.Command {
	mirror := &urfave.StringFlag{Name: "mirror", Usage: "copy safe requests to `APP@rN=PERCENT%`; none ends that"}
	when := &urfave.StringFlag{Name: "when", Usage: "send requests with `CONDITION` to APP@rN, whatever the weights; none ends that"}
	return c.new("traffic", "HOST[/PATH] [APP[@rN]=WEIGHT… | --when CONDITION APP[@rN]]", "set the weights of all targets of a route, or a rule", 1, -1, []urfave.Flag{groupFlag, jsonFlag, when, mirror},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			host, path, err := hostPath(u.Args().First())
			if err != nil {
				return err
			}
			w := api.Weights{Host: string(host), Path: path}
			args := u.Args().Tail()
			if u.IsSet("when") {
				if w.Rule, err = c.rule(u, host, args); err != nil {
					return err
				}
				args = nil
			}
			for _, arg := range args {
				name, weight, ok := strings.Cut(arg, "=")
				n, err := strconv.Atoi(weight)
				if !ok || err != nil {
					return cloud.Errorf(cloud.Invalid, "%q is not APP@rN=WEIGHT", arg).WithHint("for example micro traffic %s shop@r6=95 shop@r7=5", host)
				}
				ref, err := c.ref(u, name)
				if err != nil {
					return err
				}
				w.Targets = append(w.Targets, api.Weight{App: ref.App, Release: ref.N, Weight: n})
			}
			if u.IsSet("mirror") {
				if w.Mirror, err = c.mirroring(u, u.String("mirror")); err != nil {
					return err
				}
			}
			if len(w.Targets) == 0 && w.Mirror == nil && w.Rule == nil {
				return cloud.Errorf(cloud.Invalid, "micro traffic: too few arguments").WithHint("for example micro traffic %s shop@r6=95 shop@r7=5", host)
			}
			return c.routed(u)(client.Traffic(ctx, c.group(u), w))
		}))
}

// rule reads the release of a rule, or "none" where it is to end.
func (c *command) rule(u *urfave.Context, host cloud.Host, args []string) (*api.NewRule, error) {
	when := u.String("when")
	if len(args) != 1 {
		return nil, cloud.Errorf(cloud.Invalid, "--when needs one release, or none").WithHint("for example micro traffic %s --when 'header X-Beta: 1' shop@r7", host)
	}
	if args[0] == "none" {
		return &api.NewRule{When: when, End: true}, nil
	}
	ref, err := c.ref(u, args[0])
	return &api.NewRule{When: when, App: ref.App, Release: ref.N}, err
}

// mirroring reads "shop@r7=10%" or "none".
func (c *command) mirroring(u *urfave.Context, s string) (*api.Mirroring, error) {
	if s == "none" {
		return &api.Mirroring{}, nil
	}
	name, percent, ok := strings.Cut(s, "=")
	n, err := strconv.Atoi(strings.TrimSuffix(percent, "%"))
	if !ok || err != nil || n < 0 || n > 100 {
		return nil, cloud.Errorf(cloud.Invalid, "%q is not APP@rN=PERCENT%%", s).WithHint("for example --mirror shop@r7=10%%, or --mirror none")
	}
	ref, err := c.ref(u, name)
	return &api.Mirroring{App: ref.App, Release: ref.N, Percent: n}, err
}

func (c *command) swap() *urfave.Command {
	return c.new("swap", "HOST HOST", "swap two hosts' targets", 2, 2, []urfave.Flag{groupFlag, jsonFlag, yesFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			return c.routed(u)(client.Swap(ctx, c.group(u), api.Swap{A: u.Args().First(), B: u.Args().Get(1), Force: u.Bool("yes")}))
		}))
}

// shownRoute is a route's host and path, the host in its own letters too.
func shownRoute(r api.Route) string {
	shown := string(r.Host) + strings.TrimSuffix(r.Path, "/")
	if r.Unicode != "" {
		shown += " (" + r.Unicode + ")"
	}
	return shown
}

// routed prints what the routes name that a write changed.
func (c *command) routed(u *urfave.Context) func(api.Changed, error) error {
	return func(changed api.Changed, err error) error {
		if err != nil || u.Bool("json") {
			return c.done(u)(changed, err)
		}
		for _, r := range changed.Routes {
			host := shownRoute(r)
			switch to := targetsOf(r); {
			case to == "":
				c.print("%s (%s) has no target, and answers 503", host, r.Exposure)
			default:
				c.print("%s (%s) routes to %s", host, r.Exposure, to)
			}
		}
		return nil
	}
}

// sayShared tells who mapped a host that it routes elsewhere too.
func (c *command) sayShared(r api.Route, mapped cloud.ReleaseRef) {
	for _, t := range r.Targets {
		if other := targetRef(t); other != mapped && (t.Weight == nil || *t.Weight > 0) {
			c.say("it still routes to %s as well, as it did before: micro unmap %s %s ends that", other, other, string(r.Host)+strings.TrimSuffix(r.Path, "/"))
		}
	}
}

// done prints what a write answered where JSON is asked for; no news is good news.
func (c *command) done(u *urfave.Context) func(api.Changed, error) error {
	return func(changed api.Changed, err error) error {
		if err == nil && u.Bool("json") {
			return c.printJSON(changed)
		}
		return err
	}
}
