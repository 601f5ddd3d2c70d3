package runtime

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// labelOnce is the label of a container that runs one command and is then gone: nothing that a node adopts.
const labelOnce = "micro.once"

// Cron is the process that what a job prints is said to be of.
const Cron cloud.ProcessName = "cron"

// RunOnce runs a command in a container of its own, made like those of the release's process, and
// returns its exit code. memory overrides the process's limit where it is not 0. The container is gone
// when RunOnce returns; it ends with ctx.
func (a *Agent) RunOnce(ctx context.Context, r cloud.ReleaseRef, process cloud.ProcessName, memory int64, c Command) (int, error) {
	made, _, err := a.once(ctx, "run", r, process)
	if err != nil {
		return 0, err
	}
	made.Args, made.Command, made.Attach = c.Args, "", &c
	made.Env = append(made.Env, c.Env...)
	made.User, made.Dir = c.User, c.Dir
	if memory != 0 {
		made.Memory = memory
	}
	exit, err := a.seeThrough(ctx, made)
	return exit.Code, err
}

// RunJob runs a job of a release like RunOnce. What it prints goes to the app's log.
func (a *Agent) RunJob(ctx context.Context, r cloud.ReleaseRef, j cloud.Job) (Exit, error) {
	made, i, err := a.once(ctx, "cron", r, "")
	if err != nil {
		return Exit{}, err
	}
	i.Process = Cron
	if made.Log, err = a.Logs.Open(i); err != nil {
		return Exit{}, err
	}
	defer a.Logs.Done(i.ID)
	made.Args, made.Command = nil, j.Command
	return a.seeThrough(ctx, made)
}

// once returns a container for one command, made like those of a release's process (its main one where none
// is named), and what it would be an instance of.
func (a *Agent) once(ctx context.Context, what string, r cloud.ReleaseRef, process cloud.ProcessName) (Container, *cloud.Instance, error) {
	state := a.Views.View().State
	_, rel, err := state.MustRelease(r)
	if err != nil {
		return Container{}, nil, err
	}
	group, ok := state.Group(rel.Group)
	if !ok {
		return Container{}, nil, cloud.Errorf(cloud.NotFound, "no group %q", rel.Group)
	}
	process = cmp.Or(process, rel.Spec.Main())
	if _, ok := rel.Spec.Processes[process]; !ok {
		return Container{}, nil, cloud.Errorf(cloud.NotFound, "release %s has no process %q", rel.ReleaseRef, process).WithCommand("micro app %s", rel.AppRef)
	}
	image, err := a.Images.Get(ctx, rel.Spec.Image.Digest)
	if err != nil {
		return Container{}, nil, err
	}
	volumes, err := a.volumes(rel)
	if err != nil {
		return Container{}, nil, err
	}
	i := &cloud.Instance{Slot: cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: process}, Of: rel.Created, Node: a.Node}
	i.ID = cloud.InstanceID(what + "-" + string(a.newID(i.Slot)))
	if len(i.ID) > 63 {
		i.ID = cloud.InstanceID(strings.TrimLeft(string(i.ID[len(i.ID)-63:]), "-"))
	}
	made := a.site.container(group, rel, i, image, volumes, "")
	made.Labels = map[string]string{labelOnce: rel.ReleaseRef.String()}
	made.Shim += ".once"
	return made, i, nil
}

// seeThrough runs a container from its start to its end.
func (a *Agent) seeThrough(ctx context.Context, c Container) (Exit, error) {
	if _, err := a.Driver.Start(ctx, c); err != nil {
		return Exit{}, err
	}
	exit, err := a.Driver.Wait(ctx, c.ID)
	// Also where ctx has ended: what was started for somebody must not outlive them.
	return exit, errors.Join(err, a.Driver.Remove(context.WithoutCancel(ctx), c.ID))
}
