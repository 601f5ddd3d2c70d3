package runtime

import (
	"context"
	"errors"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// labelOnce is the label of a container that runs one command for a person: nothing that a node adopts.
const labelOnce = "micro.once"

// RunOnce runs a command in a container of its own, made like those of the release's process, and
// returns its exit code. memory overrides the process's limit where it is not 0. The container is gone
// when RunOnce returns; it ends with ctx.
func (a *Agent) RunOnce(ctx context.Context, r cloud.ReleaseRef, process cloud.ProcessName, memory int64, c Command) (int, error) {
	state := a.Board.View().State
	_, rel, err := state.MustRelease(r)
	if err != nil {
		return 0, err
	}
	group, ok := state.Group(rel.Group)
	if !ok {
		return 0, cloud.Errorf(cloud.NotFound, "no group %q", rel.Group)
	}
	if process == "" {
		process = cloud.Web
	}
	if _, ok := rel.Spec.Processes[process]; !ok {
		return 0, cloud.Errorf(cloud.NotFound, "release %s has no process %q", rel.ReleaseRef, process).WithHint("micro app %s", rel.AppRef)
	}
	image, err := a.Images.Get(ctx, rel.Spec.Image.Digest)
	if err != nil {
		return 0, err
	}
	i := &cloud.Instance{Slot: cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: process}}
	i.ID = "run-" + a.newID(i.Slot)
	if len(i.ID) > 63 {
		i.ID = cloud.InstanceID(strings.TrimLeft(string(i.ID[len(i.ID)-63:]), "-"))
	}
	volumes, err := a.volumes(rel)
	if err != nil {
		return 0, err
	}
	made := a.site.container(group, rel, i, image, volumes, "")
	made.Labels = map[string]string{labelOnce: rel.ReleaseRef.String()}
	made.Args, made.Command, made.Attach = c.Args, "", &c
	made.Env = append(made.Env, c.Env...)
	made.User, made.Dir, made.Shim = c.User, c.Dir, "" // its own: a group's shim may be ending with the one before
	if memory != 0 {
		made.Memory = memory
	}
	if _, err := a.Driver.Start(ctx, made); err != nil {
		return 0, err
	}
	exit, err := a.Driver.Wait(ctx, made.ID)
	// Also where ctx has ended: what was started for somebody must not outlive them.
	err = errors.Join(err, a.Driver.Remove(context.WithoutCancel(ctx), made.ID))
	return exit.Code, err
}
