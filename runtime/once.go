package runtime

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// labelOnce marks a container for a single command. A restarted node removes such containers.
const labelOnce = "micro.once"

// Cron is the process name of a job's log lines.
const Cron cloud.ProcessName = "cron"

// RunOnce runs a command in a new container like those of the release's process, and returns its exit code. memory
// overrides the process's limit if it is not 0. RunOnce removes the container before it returns, also when ctx ends.
func (a *Agent) RunOnce(ctx context.Context, r cloud.ReleaseRef, process cloud.ProcessName, memory int64, c Command) (int, error) {
	made, i, err := a.onceContainer(ctx, "run", r, process)
	if err != nil {
		return 0, err
	}
	made.Args, made.Command, made.Attach = c.Args, "", &c
	made.Secrets = append(made.Secrets, c.Env...)
	made.User, made.Dir = c.User, c.Dir
	if memory != 0 {
		made.Memory = memory
	}
	exit, err := a.runToEnd(ctx, i.ReleaseRef, made)
	return exit.Code, err
}

// RunJob runs a job of a release like RunOnce. Its output goes to the app's log.
func (a *Agent) RunJob(ctx context.Context, r cloud.ReleaseRef, j cloud.Job) (Exit, error) {
	made, i, err := a.onceContainer(ctx, "cron", r, "")
	if err != nil {
		return Exit{}, err
	}
	i.Process = Cron
	if made.Log, err = a.Logs.Open(i); err != nil {
		return Exit{}, err
	}
	defer a.Logs.Done(i.ID)
	made.Args, made.Command = nil, j.Command
	return a.runToEnd(ctx, i.ReleaseRef, made)
}

// onceContainer returns a container for a single command like those of a release's process (the main process if
// none is given), and the instance that it would be.
func (a *Agent) onceContainer(ctx context.Context, what string, r cloud.ReleaseRef, process cloud.ProcessName) (Container, *cloud.Instance, error) {
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
	made := a.facts.container(group, rel, i, image, volumes, "")
	made.bind(rel, state)
	made.Labels = map[string]string{labelOnce: rel.ReleaseRef.String()}
	made.Fenced = false // it runs once, and nowhere else later
	made.Shim += ".once"
	return made, i, nil
}

// Secrets are the variables that an instance has of its release, as K=V; none for an instance that is not there.
func (a *Agent) Secrets(id cloud.InstanceID) []string {
	view := a.Views.View()
	i, ok := view.Instances.Get(id)
	if !ok {
		return nil
	}
	return a.secretsOf(i)
}

func (a *Agent) secretsOf(i *cloud.Instance) []string {
	state := a.Views.View().State
	rel, ok := state.Release(i.ReleaseRef)
	if !ok {
		return nil
	}
	return secrets(rel, state.Bound(rel))
}

// runToEnd starts a container, waits for its end, and removes it.
func (a *Agent) runToEnd(ctx context.Context, r cloud.ReleaseRef, c Container) (Exit, error) {
	if err := a.startOnce(ctx, r, c); err != nil {
		return Exit{}, err
	}
	exit, err := a.Driver.Wait(ctx, c.ID)
	defer a.pauses.unpaused(r.AppRef)()
	// Remove it even if ctx has ended: the container must not outlive its caller.
	return exit, errors.Join(err, a.Driver.Remove(context.WithoutCancel(ctx), c.ID))
}

// startOnce starts a container, unless the release's volumes are not to be used now.
func (a *Agent) startOnce(ctx context.Context, r cloud.ReleaseRef, c Container) error {
	defer a.pauses.unpaused(r.AppRef)()
	state := a.Views.View().State
	if rel, ok := state.Release(r); ok {
		if err := a.mayMount(state, rel); err != nil {
			return err
		}
	}
	_, err := a.Driver.Start(ctx, c)
	return err
}
