package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/manifest"
)

func (c *command) push() *urfave.Command {
	flags := append([]urfave.Flag{
		groupFlag, jsonFlag, detach,
		&urfave.StringFlag{Name: "app", Aliases: []string{"a"}, Usage: "the app's `NAME`; else the manifest's, else the folder's"},
		&urfave.StringFlag{Name: "image", Usage: "run this `IMAGE`: a reference, or an OCI or docker archive"},
		&urfave.BoolFlag{Name: "stage", Usage: "run the release at its own address only"},
		&urfave.IntFlag{Name: "instances", Aliases: []string{"i"}, Usage: "`N` instances of the web process"},
		&urfave.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory `SIZE` of an instance: 256M, 1G"},
		newRepeated("env", "e", "`KEY=VALUE` of the environment; may be repeated"),
		newRepeated("var", "", "`NAME=VALUE` of a ((variable)) of the manifest; may be repeated"),
		newRepeated("vars-file", "", "YAML `FILE` of variables; may be repeated"),
		&urfave.StringFlag{Name: "strategy", Usage: "how it takes over, `KIND` rolling, cutover or recreate"},
		&urfave.StringFlag{Name: "attach", Usage: "push nothing, follow the push `ID`"},
		&urfave.StringFlag{Name: "cancel", Usage: "push nothing, cancel the push `ID`"},
	}, buildFlags()...)
	return c.new("push", "[PATH]", "build a folder, or use an image, and run it", 0, 1, flags, c.with(c.doPush))
}

func (c *command) doPush(ctx context.Context, u *urfave.Context, client *api.Client) error {
	if u.IsSet("attach") || u.IsSet("cancel") {
		return c.steerPush(ctx, u, client)
	}
	p, err := c.readPush(ctx, u, client)
	if err != nil {
		return err
	}
	content, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer content.close()
	if err := c.createServices(ctx, client, p.app.Group, p.services); err != nil {
		return err
	}
	push, err := client.Push(ctx, p.app, p.draft)
	if err != nil {
		return err
	}
	if err := c.send(ctx, client, push, content); err != nil {
		return c.abandonPush(client, push, err)
	}
	if u.Bool("detach") {
		if u.Bool("json") {
			return c.printJSON(push)
		}
		c.print("%s", push.ID)
		return nil
	}
	return c.followPush(ctx, u, client, push)
}

// readPush makes a draft of the manifest and the flags: a flag beats the manifest.
func (c *command) readPush(ctx context.Context, u *urfave.Context, client *api.Client) (*pushing, error) {
	dir := "."
	if u.NArg() > 0 {
		if dir = u.Args().First(); dir == "" {
			return nil, cloud.Errorf(cloud.Invalid, "the PATH to push is empty").WithHint("micro push . pushes this folder")
		}
	}
	vars := map[string]string{}
	for _, kv := range valuesOf(u, "var") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, cloud.Errorf(cloud.Invalid, "--var %q is not NAME=VALUE", kv)
		}
		vars[k] = v
	}
	domain := cloud.Domain("")
	if node, err := client.Node(ctx); err == nil {
		domain = node.Domain
	}
	options := manifest.Options{App: cloud.AppName(u.String("app")), Image: u.String("image"), Domain: domain, Vars: vars, VarsFiles: valuesOf(u, "vars-file")}
	m, err := manifest.Load(dir, options)
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings {
		c.say("warning: %s", w)
	}
	if err := m.App.Validate(); err != nil {
		return nil, err
	}
	p := &pushing{
		app:   cloud.AppRef{Group: c.group(u), App: m.App},
		dir:   filepath.Join(dir, m.Path),
		draft: api.PushRequest{Spec: m.Spec, Stage: u.Bool("stage")},

		services: m.Services,
	}
	for _, name := range m.Secrets {
		if p.draft.Spec.EnvDefaults == nil {
			p.draft.Spec.EnvDefaults = map[string]string{}
		}
		p.draft.Spec.EnvDefaults[name] = newSecret()
	}
	if err := draftFlags(u, &p.draft.Spec); err != nil {
		return nil, err
	}
	image := u.String("image")
	if image == "" {
		image = m.Image
	}
	switch {
	case image == "":
		p.draft.Source = &api.Source{
			Dockerfile: m.Build.Dockerfile, Target: m.Build.Target, Args: m.Build.Args, Labels: sourceLabels(p.dir),
		}
		p.draft.Name = filepath.Base(p.dir)
		return p, c.readBuildFlags(u, p.draft.Source)
	case isArchive(image):
		p.archive, p.draft.Archive, p.draft.Name = image, true, filepath.Base(image)
	default:
		p.draft.Image, p.draft.Name = image, image
	}
	return p, onlyOfBuilds(u)
}

// newSecret is 64 random digits, as Heroku makes them.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// draftFlags puts what flags say over what the manifest does.
func draftFlags(u *urfave.Context, d *cloud.PushSpec) error {
	var flags cloud.ProcessSpec
	if u.IsSet("instances") {
		n := u.Int("instances")
		flags.Instances = &n
	}
	if u.IsSet("memory") {
		n, err := cloud.ParseSize(u.String("memory"))
		if err != nil {
			return err
		}
		flags.Memory = &n
	}
	if flags != (cloud.ProcessSpec{}) {
		if err := scaleDraft(d, flags); err != nil {
			return err
		}
	}
	for _, kv := range valuesOf(u, "env") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return cloud.Errorf(cloud.Invalid, "--env %q is not KEY=VALUE", kv)
		}
		if d.Env == nil {
			d.Env = map[string]string{}
		}
		d.Env[k] = v
	}
	if s := u.String("strategy"); s != "" {
		strategy := cloud.Strategy{Kind: cloud.StrategyKind(s)}
		if d.Strategy != nil {
			strategy.Batch = d.Strategy.Batch
			if strategy.Kind != cloud.Recreate {
				strategy.Surge = d.Strategy.Surge
			}
		}
		d.Strategy = &strategy
	}
	return nil
}

// scaleDraft gives the process web what flags say of instances and memory; in an app without web, the only
// process that it has.
func scaleDraft(d *cloud.PushSpec, flags cloud.ProcessSpec) error {
	name := cloud.Web
	if d.NoWeb {
		var all []cloud.ProcessName
		for _, p := range sorted(d.Processes) {
			if p != cloud.ReleaseCommand {
				all = append(all, p)
			}
		}
		if len(all) != 1 {
			return cloud.Errorf(cloud.Invalid, "-i and -m are for the process web, which the app does not have, only %v", all).
				WithHint("write instances and memory in micro.yml, or use micro scale APP PROCESS=N")
		}
		name = all[0]
	}
	if d.Processes == nil {
		d.Processes = map[cloud.ProcessName]cloud.ProcessSpec{}
	}
	p := d.Processes[name]
	if flags.Instances != nil {
		p.Instances = flags.Instances
	}
	if flags.Memory != nil {
		p.Memory = flags.Memory
	}
	d.Processes[name] = p
	return nil
}

// send sends what the push waits for. A node that keeps the files of an earlier push is told first what the
// folder has, and answers what it lacks. Another one gets everything, which saves reading the folder twice.
func (c *command) send(ctx context.Context, client *api.Client, push api.Push, content content) error {
	var missing []string
	if push.Kept && content.list != nil {
		answer, err := streamed(ctx, content.list, func(r io.Reader) (api.Push, error) { return client.ListFiles(ctx, push.ID, r) })
		if err != nil {
			return err
		}
		if missing = answer.Missing; missing != nil && len(missing) == 0 {
			return nil
		}
	}
	if content.write == nil {
		return nil
	}
	write := func(w io.Writer) error { return content.write(w, missing) }
	_, err := streamed(ctx, write, func(r io.Reader) (api.Push, error) { return client.Upload(ctx, push.ID, r) })
	return err
}

// streamed has request send what write writes.
func streamed(ctx context.Context, write func(io.Writer) error, request func(io.Reader) (api.Push, error)) (api.Push, error) {
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		sent <- err
	}()
	answer, err := request(r)
	r.CloseWithError(errUploadEnded)
	// A fault of the folder says more than that the node got too little of it.
	if serr := <-sent; serr != nil && ctx.Err() == nil && !errors.Is(serr, errUploadEnded) && !errors.Is(serr, io.ErrClosedPipe) {
		return answer, serr
	}
	return answer, err
}

// errUploadEnded is what the sender meets where the node has answered before it had all.
var errUploadEnded = errors.New("the upload has ended")
