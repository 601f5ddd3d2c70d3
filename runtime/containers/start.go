package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/network"
)

// labelInstance marks snapshots of our containers.
const labelInstance = labelPrefix + "instance"

// Start makes and starts a container. After an error nothing of it is left.
func (d *Driver) Start(ctx context.Context, c runtime.Container) (_ runtime.Running, err error) {
	if err := validate(c); err != nil {
		return runtime.Running{}, err
	}
	if err := d.claim(c.ID); err != nil {
		return runtime.Running{}, err
	}
	defer d.release(c.ID)
	if _, err := d.lookup(c.ID); err == nil {
		return runtime.Running{}, cloud.Errorf(cloud.Conflict, "container %q already exists", c.ID)
	}
	go d.warmUpCgroups()
	ctx = d.engine.Context(ctx)
	image, err := d.images.get(ctx, d.engine.Client(), c.Image)
	if err != nil {
		return runtime.Running{}, err
	}
	ep, err := d.net.Reserve(c.ID, c.Tenant, network.Access{Service: c.Service, Reaches: c.Reaches})
	if err != nil {
		return runtime.Running{}, err
	}
	d.net.Label(c.ID, runtime.AppOf(c.Labels))
	var process *engine.Shim
	defer func() {
		if err == nil {
			return
		}
		last := process != nil && d.shims.Leave(process)
		err = errors.Join(err, d.rollBack(ctx, c.ID))
		if last {
			err = errors.Join(err, d.shims.End(process))
		}
	}()
	in, err := d.start(ctx, c, image, ep, &process)
	if err != nil {
		return runtime.Running{}, fmt.Errorf("start container %s: %w", c.ID, err)
	}
	return in.running(), nil
}

// start starts a container. It sets process to the container's shim, also if it fails after choosing the shim.
func (d *Driver) start(ctx context.Context, c runtime.Container, image *image, ep network.Endpoint, process **engine.Shim) (_ *instance, err error) {
	var g errgroup.Group
	g.Go(func() error { return d.net.Attach(ctx, c.ID) })
	g.Go(func() (err error) {
		*process, err = d.shims.Join(shimGroup(c))
		return err
	})
	var spec *specs.Spec
	g.Go(func() (err error) {
		if spec, err = d.spec(ctx, c, image, ep); err != nil {
			return err
		}
		// The record comes before the snapshot, because containerd deletes snapshots without a record as garbage.
		if err := d.record(ctx, c, image, ep, spec); err != nil {
			return err
		}
		if err := d.step("record"); err != nil {
			return err
		}
		return d.snapshot(ctx, c, image.chain)
	})
	g.Go(func() error {
		if err := d.writeFiles(c, ep, d.net.Gateway()); err != nil {
			return err
		}
		if err := errors.Join(d.writeSecrets(c), d.writeBindings(c), d.markFenced(c)); err != nil {
			return err
		}
		return createLog(c.Log)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := d.step("parts"); err != nil {
		return nil, err
	}
	var streams *attached
	if c.Attach != nil {
		streams = attach(c.Attach)
	}
	task, status, err := d.task(ctx, c, streams, process)
	if gone := errors.Join(os.RemoveAll(d.secretsFile(c.ID)), d.hideBindings(c.ID)); err == nil {
		err = gone
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && streams != nil {
			task.IO().Cancel()
			err = errors.Join(err, task.IO().Close())
		}
	}()
	if err := d.step("task"); err != nil {
		return nil, err
	}
	if err := d.verifyLimits(task.Pid(), c); err != nil {
		return nil, err
	}
	if err := makeVolumeFolders(c, image, task.Pid()); err != nil {
		return nil, err
	}
	if err := checkProgram(spec.Process, override(spec.Process.Env, c.Secrets), task.Pid()); err != nil {
		return nil, err
	}
	if c.Await != nil {
		if err := c.Await(ctx); err != nil {
			return nil, err
		}
	}
	if err := task.Start(ctx); err != nil {
		return nil, runcError(err)
	}
	if err := d.step("start"); err != nil {
		return nil, err
	}
	in := &instance{
		id: c.ID, labels: c.Labels, ip: ep.IP, tenant: c.Tenant, pid: task.Pid(), started: time.Now(), stop: stopSignal(image.config.StopSignal), init: hasInit(spec.Process),
		task: task, streams: streams, shim: *process, done: make(chan struct{}),
	}
	if err := writeJSON(filepath.Join(d.folder(c.ID), startedFile), started{PID: in.pid, At: in.started}); err != nil {
		return nil, err
	}
	d.net.Running(c.ID, int(in.pid))
	d.mu.Lock()
	d.instances[c.ID] = in
	d.mu.Unlock()
	if streams != nil {
		go streams.feed(d, task, in.done)
	}
	go d.watch(in, status)
	return in, nil
}

func (d *Driver) record(ctx context.Context, c runtime.Container, image *image, ep network.Endpoint, spec *specs.Spec) error {
	anySpec, err := typeurl.MarshalAny(spec)
	if err != nil {
		return fmt.Errorf("encode its specification: %w", err)
	}
	base := network.Base(c.Tenant)
	options, err := typeurl.MarshalAny(&runcoptions.Options{
		BinaryName: d.shims.Runc(), Root: filepath.Join(d.engine.State(), "runc"), IoUid: base, IoGid: base,
	})
	if err != nil {
		return fmt.Errorf("encode runc's options: %w", err)
	}
	labels := make(map[string]string, len(c.Labels)+5)
	maps.Copy(labels, c.Labels)
	labels[labelIP], labels[labelTenant] = ep.IP.String(), strconv.FormatUint(uint64(c.Tenant), 10)
	labels[labelBoot], labels[labelShim] = d.boot, shimGroup(c)
	if c.Service != "" {
		labels[labelService] = c.Service
	}
	if len(c.Reaches) > 0 {
		labels[labelReaches] = strings.Join(c.Reaches, " ")
	}
	if s := image.config.StopSignal; s != "" {
		labels[labelStop] = s
	}
	if hasInit(spec.Process) {
		labels[labelInit] = initPath
	}
	_, err = d.engine.Client().ContainerService().Create(ctx, containers.Container{
		ID: c.ID, Labels: labels, Image: c.Image, Spec: anySpec,
		Runtime:     containers.RuntimeInfo{Name: d.shims.Program(), Options: options},
		SnapshotKey: c.ID, Snapshotter: engine.Snapshotter, SandboxID: engine.SandboxID,
	})
	if err != nil {
		return fmt.Errorf("record it: %w", err)
	}
	return nil
}

// snapshot makes the container's root file system. No file is copied or changes its owner, because the mount maps IDs.
func (d *Driver) snapshot(ctx context.Context, c runtime.Container, chain string) error {
	ids := mapping(c.Tenant)
	_, err := d.engine.Client().SnapshotService(engine.Snapshotter).Prepare(ctx, c.ID, chain,
		client.WithUserNSRemapperLabels(ids, ids), snapshots.WithLabels(map[string]string{labelInstance: c.ID}))
	if errdefs.IsNotFound(err) {
		d.images.forget(c.Image)
		return noImage(c.Image)
	}
	if err == nil {
		err = d.limitSnapshot(ctx, c.ID, c.Disk)
	}
	if err != nil {
		return fmt.Errorf("its root file system: %w", err)
	}
	return nil
}

// task makes the container's process by shim and runc, but does not start its program yet.
func (d *Driver) task(ctx context.Context, c runtime.Container, streams *attached, process **engine.Shim) (client.Task, <-chan client.ExitStatus, error) {
	ctr, err := d.engine.Client().LoadContainer(ctx, c.ID)
	if err != nil {
		return nil, nil, fmt.Errorf("its record: %w", err)
	}
	output := cio.NullIO
	switch {
	case streams != nil:
		output = streams.creator(d.engine.State())
	case c.Log != "":
		output = cio.LogFile(c.Log)
	}
	task, err := ctr.NewTask(ctx, output, client.WithTaskAPIEndpoint((*process).Endpoint()))
	// If the shim has just been killed, try again with another one.
	for try := 1; try < 3 && err != nil && shimEnded(err) && streams == nil; try++ {
		if err := d.removeStarted(c.ID); err != nil {
			return nil, nil, err
		}
		if *process, err = d.shims.Replace(*process, shimGroup(c)); err != nil {
			return nil, nil, err
		}
		task, err = ctr.NewTask(ctx, output, client.WithTaskAPIEndpoint((*process).Endpoint()))
	}
	if err != nil {
		return nil, nil, runcError(err)
	}
	// Wait before the program starts, so that an early end is not missed. The wait must outlast ctx.
	status, err := task.Wait(context.WithoutCancel(ctx))
	if err != nil {
		if streams != nil {
			err = errors.Join(err, task.IO().Close())
		}
		return nil, nil, fmt.Errorf("wait for it: %w", err)
	}
	return task, status, nil
}

// shimVersion counts the changes of what a shim does for a container, such as to give it its secrets. After an upgrade
// a container must not join the shim of an older micro, which would start it without. Raise it with every such change.
const shimVersion = "4"

// shimGroup returns the name of the group of containers that share a shim; without one, a container has its own shim.
func shimGroup(c runtime.Container) string { return cmp.Or(c.Shim, c.ID) + "/" + shimVersion }

// shimEnded reports whether an error means that the shim has just ended. Only the text tells that.
func shimEnded(err error) bool {
	return strings.Contains(err.Error(), "ttrpc: closed") || strings.Contains(err.Error(), "failed to create TTRPC connection")
}

// createLog creates the log with a private mode. The shim would create it readable for all users.
func createLog(file string) error {
	if file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("its log: %w", err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("its log: %w", err)
	}
	return f.Close()
}

var validID = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

func validate(c runtime.Container) error {
	var errs []error
	if !validID.MatchString(c.ID) {
		errs = append(errs, errors.New("its ID is not of 1 to 63 of [a-z0-9.-]"))
	}
	if c.Tenant > network.MaxTenant {
		errs = append(errs, fmt.Errorf("there are user IDs for groups up to number %d, not for %d", network.MaxTenant, c.Tenant))
	}
	if c.Memory < minMemory {
		errs = append(errs, fmt.Errorf("it needs a memory limit of %d MiB at least", minMemory>>20))
	}
	if c.CPU < minCPU {
		errs = append(errs, fmt.Errorf("it needs a CPU limit of %d thousandths at least", minCPU))
	}
	if c.Pids < 1 {
		errs = append(errs, errors.New("it needs a limit on processes"))
	}
	if len(c.Args) > 0 && c.Command != "" {
		errs = append(errs, errors.New("it has both arguments and a command line"))
	}
	for _, m := range c.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) == "/" {
			errs = append(errs, fmt.Errorf("mount %q on %q: both have to be absolute paths", m.Source, m.Target))
		}
	}
	if c.Log != "" && c.Attach != nil {
		errs = append(errs, errors.New("its output goes to a log or to a caller, not to both"))
	}
	if c.Log != "" && !filepath.IsAbs(c.Log) {
		errs = append(errs, fmt.Errorf("log file %q is not absolute", c.Log))
	}
	if err := errors.Join(errs...); err != nil {
		return cloud.Errorf(cloud.Invalid, "container %q: %w", c.ID, err)
	}
	return nil
}
