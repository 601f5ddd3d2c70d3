package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

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
		&urfave.BoolFlag{Name: "stage", Usage: "run the release at its own address alone"},
		&urfave.IntFlag{Name: "instances", Aliases: []string{"i"}, Usage: "`N` instances of the web process"},
		&urfave.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory `SIZE` of an instance: 256M, 1G"},
		newRepeated("env", "e", "`KEY=VALUE` of the environment; may be repeated"),
		newRepeated("var", "", "`NAME=VALUE` of a ((variable)) of the manifest; may be repeated"),
		newRepeated("vars-file", "", "YAML `FILE` of variables; may be repeated"),
		&urfave.StringFlag{Name: "strategy", Usage: "how it takes over, `KIND` rolling, cutover or recreate"},
	}, buildFlags()...)
	return c.new("push", "[PATH]", "build a folder, or take an image, and run it", 0, 1, flags, c.with(c.doPush))
}

func (c *command) doPush(ctx context.Context, u *urfave.Context, client *api.Client) error {
	p, err := c.readPush(ctx, u, client)
	if err != nil {
		return err
	}
	content, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer content.close()
	push, err := client.Push(ctx, p.app, p.draft)
	if err != nil {
		return err
	}
	if content.write != nil {
		if err := c.upload(ctx, client, push, content); err != nil {
			return c.interruptedPush(client, push, err)
		}
	}
	if u.Bool("detach") {
		if u.Bool("json") {
			return c.printJSON(push)
		}
		c.print("%s", push.ID)
		return nil
	}
	outcome, err := c.watchPush(ctx, u, client, push)
	if err != nil {
		return c.interruptedPush(client, push, err)
	}
	return c.outcome(u, outcome)
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
			return nil, cloud.Errorf(cloud.Invalid, "--var %q is no NAME=VALUE", kv)
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
			return cloud.Errorf(cloud.Invalid, "--env %q is no KEY=VALUE", kv)
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
			return cloud.Errorf(cloud.Invalid, "the app has no process web, and -i and -m do not say which of %v they are about", all).
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

// upload sends what the push waits for.
func (c *command) upload(ctx context.Context, client *api.Client, push api.Push, content content) error {
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := content.write(w, push.Missing)
		w.CloseWithError(err)
		sent <- err
	}()
	_, err := client.Upload(ctx, push.ID, r)
	r.CloseWithError(errUploadEnded)
	// A fault of the folder says more than that the node got too little of it.
	if serr := <-sent; serr != nil && ctx.Err() == nil && !errors.Is(serr, errUploadEnded) && !errors.Is(serr, io.ErrClosedPipe) {
		return serr
	}
	return err
}

// errUploadEnded is what the sender meets where the node has answered before it had all.
var errUploadEnded = errors.New("the upload has ended")

// watchPush shows what happens to a push until it has ended, over lost connections and restarts of the node.
func (c *command) watchPush(ctx context.Context, u *urfave.Context, client *api.Client, push api.Push) (api.Outcome, error) {
	show := c.progress(u)
	defer show.stop()
	next := 1
	var lost time.Time
	for {
		var failed error
		for e, err := range client.PushEvents(ctx, push.ID, next) {
			if e.Failure != nil { // its code may be Unavailable too: a registry's, not the node's
				return api.Outcome{}, err
			}
			if err != nil {
				failed = err
				break
			}
			lost, next = time.Time{}, e.Seq+1
			if e.Outcome != nil {
				return *e.Outcome, nil
			}
			show.event(e)
		}
		if cloud.CodeOf(failed) != cloud.Unavailable || ctx.Err() != nil {
			switch {
			case ctx.Err() != nil:
				failed = ctx.Err()
			case cloud.CodeOf(failed) == cloud.NotFound:
				// It was there: the node went down before it had made a release.
				failed = cloud.Errorf(cloud.Unavailable, "%w", failed).WithHintOf(failed)
			}
			return api.Outcome{}, failed
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > reconnectFor {
			return api.Outcome{}, cloud.Errorf(cloud.Unavailable, "the node is out of reach, and what became of push %s is unknown: %w", push.ID, failed).
				WithCommand("micro releases %s", push.App)
		}
		select {
		case <-time.After(reconnectIn):
		case <-ctx.Done():
		}
		// A node that was restarted has fewer events to tell of, perhaps only how it ended.
		if now, err := client.PushByID(ctx, push.ID); err == nil && now.Events < next-1 {
			next = 1
		}
	}
}

// interruptedPush gives a push up that its person gave up, and says so.
func (c *command) interruptedPush(client *api.Client, push api.Push, err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	signal.Reset(os.Interrupt) // the next Ctrl-C is no question any more
	if c.interactive() && terminal(c.Stdin) && !c.confirm("\nCancel the push? Otherwise it goes on without you.") {
		c.say("push %s goes on; micro releases %s shows what becomes of it", push.ID, push.App)
		return exit(cloud.Interrupted.Exit())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, cerr := client.CancelPush(ctx, push.ID); cerr != nil {
		return cloud.Errorf(cloud.Interrupted, "interrupted, and push %s goes on: %w", push.ID, cerr)
	}
	return cloud.Errorf(cloud.Interrupted, "push %s is cancelled, app %s is as it was", push.ID, push.App)
}
