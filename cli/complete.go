package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// askFor is how long completion waits for a node: a person waits for it.
const askFor = time.Second

// completing is a command line whose last word is begun.
type completing struct {
	*command
	ctx   context.Context
	cmd   *urfave.Command
	args  []string // plain ones before the begun word
	group cloud.GroupName
}

// complete prints what may come next after the words of a command line, the last of which is begun.
func (c *command) complete(ctx context.Context, app *urfave.App, words []string) {
	if len(words) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	p := completing{command: c, ctx: ctx, group: c.usualGroup()}
	begun, words := words[len(words)-1], words[:len(words)-1]
	commands, flags := app.Commands, app.Flags
	for len(words) > 0 {
		next := find(commands, words[0])
		if next == nil {
			break
		}
		p.cmd, commands, flags, words = next, next.Subcommands, next.Flags, words[1:]
	}
	flag := "" // whose value the begun word is
	for _, w := range words {
		switch {
		case w == "--":
			return // a child's words
		case flag != "":
			if slices.Contains(lookup(flags, flag).Names(), "group") {
				p.group = cloud.GroupName(w)
			}
			flag = ""
		case wantsValue(flags, w) && strings.HasPrefix(w, "-"):
			name := strings.TrimLeft(w, "-")
			if flag = name; !strings.HasPrefix(w, "--") {
				flag = name[len(name)-1:]
			}
		case !strings.HasPrefix(w, "-"):
			p.args = append(p.args, w)
		}
	}
	var found []string
	name, value, given := strings.Cut(begun, "=")
	switch {
	case flag != "":
		found = p.values(lookup(flags, flag).Names()[0], begun)
	case strings.HasPrefix(begun, "--") && given:
		for _, v := range p.values(name[2:], value) {
			found = append(found, name+"="+v)
		}
	case strings.HasPrefix(begun, "-"):
		for _, f := range flags {
			found = append(found, "--"+f.Names()[0])
		}
	case len(commands) > 0 && len(p.args) == 0:
		for _, sub := range commands {
			found = append(found, sub.Name)
		}
		if p.cmd != nil && p.cmd.ArgsUsage != "" {
			found = append(found, p.argument(begun)...)
		}
	case p.cmd != nil:
		found = p.argument(begun)
	}
	for _, f := range found {
		if strings.HasPrefix(f, begun) {
			c.print("%s", f)
		}
	}
}

// values are those of a flag; none where they are a person's own to choose.
func (p *completing) values(flag, begun string) []string {
	switch flag {
	case "strategy":
		return []string{string(cloud.Rolling), string(cloud.Cutover), string(cloud.Recreate)}
	case "stream":
		return []string{string(api.StreamApp), string(api.StreamRouter), string(api.StreamBuild), string(api.StreamAPI)}
	case "process":
		return p.processes()
	case "app":
		return p.apps()
	case "from":
		return p.services()
	case "to":
		if p.cmd.Name == "rebind" {
			return p.services()
		}
		return p.releases(begun)
	case "attach", "cancel":
		return p.pushes()
	}
	return nil
}

// argument are the words that the next argument may be, as the command's usage has it.
func (p *completing) argument(begun string) []string {
	if p.cmd.Name == "completion" {
		return sorted(completions)
	}
	usage := strings.Fields(p.cmd.ArgsUsage)
	if len(usage) == 0 {
		return nil
	}
	at := min(len(p.args), len(usage)-1)
	if at < len(p.args) && !strings.Contains(usage[at], "…") {
		return nil // there is no further one
	}
	switch word := usage[at]; {
	case word == "KIND":
		return p.kinds()
	case word == "SERVICE":
		return p.services()
	case strings.Contains(word, "APP"):
		if strings.Contains(word, "@rN") {
			return p.releases(begun)
		}
		return p.apps()
	case word == "rA", word == "rB", word == "[rN]":
		return p.numbers()
	case strings.HasPrefix(word, "HOST"):
		return p.hosts()
	case strings.Contains(word, "PROCESS="):
		var found []string
		for _, name := range p.processes() {
			found = append(found, name+"=")
		}
		return found
	}
	return nil
}

// ask asks the node; where none answers nothing is proposed.
func ask[T any](p *completing, what func(*api.Client) ([]T, error)) []T {
	client, err := p.client()
	if err != nil {
		return nil
	}
	defer client.Close()
	list, err := what(client)
	if err != nil {
		return nil
	}
	return list
}

func (p *completing) apps() (names []string) {
	for _, a := range ask(p, func(c *api.Client) ([]api.App, error) { return c.Apps(p.ctx, p.group) }) {
		names = append(names, string(a.Name))
	}
	return names
}

func (p *completing) services() (names []string) {
	for _, s := range ask(p, func(c *api.Client) ([]api.Service, error) { return c.Services(p.ctx, p.group) }) {
		names = append(names, string(s.Name))
	}
	return names
}

func (p *completing) kinds() (names []string) {
	for _, k := range ask(p, func(c *api.Client) ([]api.ServiceKind, error) { return c.ServiceKinds(p.ctx) }) {
		names = append(names, k.Name)
	}
	return names
}

// pushes returns the IDs of the pushes under way.
func (p *completing) pushes() (ids []string) {
	for _, push := range ask(p, func(c *api.Client) ([]api.Push, error) { return c.Pushes(p.ctx, p.group, "") }) {
		if !push.Phase.Ended() {
			ids = append(ids, push.ID)
		}
	}
	return ids
}

// releasesOf returns the releases of an app, newest first.
func (p *completing) releasesOf(app cloud.AppName) []api.Release {
	return ask(p, func(c *api.Client) ([]api.Release, error) {
		return c.Releases(p.ctx, cloud.AppRef{Group: p.group, App: app})
	})
}

// releases are those of the app before @, as APP@rN; before there is one, the apps.
func (p *completing) releases(begun string) (names []string) {
	app, _, chosen := strings.Cut(begun, "@")
	if !chosen {
		return p.apps()
	}
	for _, r := range p.releasesOf(cloud.AppName(app)) {
		names = append(names, app+"@"+release(r.Release))
	}
	return names
}

// named are the releases of the app that the first argument names.
func (p *completing) named() []api.Release {
	if len(p.args) == 0 {
		return nil
	}
	ref, err := cloud.ParseRef(p.args[0], p.group)
	if err != nil {
		return nil
	}
	return p.releasesOf(ref.App)
}

func (p *completing) numbers() (names []string) {
	for _, r := range p.named() {
		names = append(names, release(r.Release))
	}
	return names
}

func (p *completing) processes() (names []string) {
	for _, r := range p.named() {
		for _, name := range sorted(r.Processes) {
			if !slices.Contains(names, string(name)) {
				names = append(names, string(name))
			}
		}
	}
	return names
}

// hosts are those that somebody has mapped.
func (p *completing) hosts() (names []string) {
	for _, r := range ask(p, func(c *api.Client) ([]api.Route, error) { return c.Routes(p.ctx, p.group) }) {
		if !r.Own {
			names = append(names, string(r.Host)+strings.TrimSuffix(r.Path, "/"))
		}
	}
	return names
}
