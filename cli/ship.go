package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) ship() *urfave.Command {
	return c.new("ship", "APP[@rN]", "run a release in another cloud, with the same image", 1, 1, []urfave.Flag{
		groupFlag, jsonFlag, detach,
		&urfave.StringFlag{Name: "to", Usage: "the other cloud, `TARGET`: a name of micro target list, or a URL"},
		&urfave.StringFlag{Name: "as", Usage: "the app's `NAME` there (default the same)"},
		&urfave.StringFlag{Name: "to-group", Usage: "the app's `GROUP` there (default the same)"},
		&urfave.BoolFlag{Name: "stage", Usage: "run the release there at its own address only"},
	}, c.with(c.doShip))
}

func (c *command) doShip(ctx context.Context, u *urfave.Context, from *api.Client) error {
	target, err := needed(u, "to", "TARGET")
	if err != nil {
		return err
	}
	ref, s, err := c.shipment(ctx, u, from)
	if err != nil {
		return err
	}
	to, err := c.clientOf(target)
	if err != nil {
		return err
	}
	defer to.Close()
	app := ref.AppRef
	if u.IsSet("as") {
		app.App = cloud.AppName(u.String("as"))
	}
	if u.IsSet("to-group") {
		app.Group = cloud.GroupName(u.String("to-group"))
	}
	if err := errors.Join(app.App.Validate(), app.Group.Validate()); err != nil {
		return err
	}
	request := api.PushRequest{Spec: s.Spec, Stage: u.Bool("stage"), Archive: true, Name: "shipped from " + ref.String()}
	existing, err := to.App(ctx, app)
	switch {
	case err == nil && existing.Current != 0:
		request.Spec = request.Spec.Unscaled()
		if err := c.warnOfVariables(ctx, to, app, s.Env); err != nil {
			return err
		}
	case err != nil && cloud.CodeOf(err) != cloud.NotFound:
		return err
	case err != nil && len(s.Env) > 0:
		c.say("warning: %s is new there and has none of the variables %s: micro env %s there", app, strings.Join(s.Env, ", "), app.App)
	}
	digests := make([]string, 0, len(s.Blobs))
	for _, b := range s.Blobs {
		digests = append(digests, b.Digest)
	}
	missing, err := to.MissingBlobs(ctx, app, digests)
	if err != nil {
		return err
	}
	without := slices.DeleteFunc(slices.Clone(digests), func(d string) bool { return slices.Contains(missing, d) })
	push, err := to.Push(ctx, app, request)
	if err != nil {
		return err
	}
	c.say("sending %s of %s: %d of %d parts are there already", sizeOf(bytesOf(s.Blobs, missing)), sizeOf(bytesOf(s.Blobs, digests)), len(without), len(digests))
	write := func(w io.Writer, _ []string) error {
		archive, err := from.ImageArchive(ctx, ref, without)
		if err != nil {
			return err
		}
		defer archive.Close()
		_, err = io.Copy(w, archive)
		return err
	}
	if err := c.send(ctx, to, push, content{write: write}); err != nil {
		return c.abandonPush(to, push, err)
	}
	if u.Bool("detach") {
		if u.Bool("json") {
			return c.printJSON(push)
		}
		c.print("%s", push.ID)
		return nil
	}
	if err := c.followPush(ctx, u, to, push); err != nil {
		return err
	}
	return c.compareDigests(ctx, to, push, ref, s.Digest)
}

// compareDigests says that both clouds run the same image, or fails.
func (c *command) compareDigests(ctx context.Context, to *api.Client, push api.Push, ref cloud.ReleaseRef, digest string) error {
	done, err := to.PushByID(ctx, push.ID)
	if err != nil {
		return err
	}
	there := cloud.AppRef{Group: done.Group, App: done.App}.Release(done.Release)
	rel, err := to.Release(ctx, there)
	if err != nil {
		return err
	}
	if rel.Digest != digest {
		return cloud.Errorf(cloud.Internal, "%s has the image %s, and %s there has %s", ref, digest, there, rel.Digest)
	}
	c.say("%s here and %s there: %s", ref, there, digest)
	return nil
}

// warnOfVariables names the variables that a release has here and the app lacks there.
func (c *command) warnOfVariables(ctx context.Context, to *api.Client, app cloud.AppRef, names []string) error {
	env, err := to.Env(ctx, app.Release(0))
	if cloud.CodeOf(err) == cloud.Denied {
		return nil // whoever may not read them there can't compare
	}
	if err != nil {
		return err
	}
	lacks := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, plain := env.Env[name]
		return plain || slices.Contains(env.Secrets, name)
	})
	if len(lacks) > 0 {
		c.say("warning: %s there lacks the variables %s", app, strings.Join(lacks, ", "))
	}
	return nil
}

func (c *command) bundle() *urfave.Command {
	return c.new("bundle", "APP[@rN]", "write a release's image to a file, for micro push --image elsewhere", 1, 1, []urfave.Flag{
		groupFlag,
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` (default APP-rN.tar)"},
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		ref, s, err := c.shipment(ctx, u, client)
		if err != nil {
			return err
		}
		name := u.String("output")
		if name == "" {
			name = fmt.Sprintf("%s-r%d.tar", ref.App, ref.N)
		}
		archive, err := client.ImageArchive(ctx, ref, nil)
		if err != nil {
			return err
		}
		defer archive.Close()
		if err := writeWhole(name, archive); err != nil {
			return err
		}
		c.print("%s", name)
		c.say("%s: micro push --image %s --app %s runs it in another cloud", s.Digest, name, ref.App)
		return nil
	}))
}

// writeWhole writes a file that is there only once it is whole.
func writeWhole(name string, r io.Reader) error {
	f, err := os.Create(name + ".part")
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot write the bundle: %w", err)
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return cloud.Errorf(cloud.Unavailable, "the bundle was not written: %w", err)
	}
	return nil
}

// shipment asks what another cloud needs of the release that the command names, the current one without a number.
func (c *command) shipment(ctx context.Context, u *urfave.Context, client *api.Client) (ref cloud.ReleaseRef, s api.Shipment, err error) {
	if ref, err = c.ref(u, u.Args().First()); err != nil {
		return ref, s, err
	}
	if ref.N == 0 {
		app, err := client.App(ctx, ref.AppRef)
		if err != nil {
			return ref, s, err
		}
		if ref.N = app.Current; ref.N == 0 {
			return ref, s, cloud.Errorf(cloud.NotFound, "app %s has no current release", ref.AppRef).WithCommand("micro releases %s", ref.App)
		}
	}
	s, err = client.Shipment(ctx, ref)
	return ref, s, err
}

func bytesOf(blobs []api.Blob, digests []string) (bytes int64) {
	for _, b := range blobs {
		if slices.Contains(digests, b.Digest) {
			bytes += b.Size
		}
	}
	return bytes
}

// clientOf returns a client of another cloud than that of the other commands: a target's name or a URL.
func (c *command) clientOf(name string) (*api.Client, error) {
	all, err := c.readTargets()
	if err != nil {
		return nil, err
	}
	t, ok := all.Targets[name]
	switch {
	case ok:
	case strings.Contains(name, "://"):
		t = target{URL: name}
		for _, known := range all.Targets {
			if known.URL == name {
				t = known
			}
		}
	default:
		return nil, cloud.Errorf(cloud.NotFound, "%q is neither a target nor a URL", name).WithCommand("micro target list")
	}
	return c.connectTo(t)
}
