package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/network"
)

// List returns all containers of this node, also ended ones, sorted by ID.
func (d *Driver) List(ctx context.Context) ([]runtime.Running, error) {
	if err := d.removeRemains(d.engine.Context(ctx)); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []runtime.Running
	for _, id := range slices.Sorted(maps.Keys(d.instances)) {
		all = append(all, d.instances[id].running())
	}
	return all, nil
}

// adopt takes over the containers of an earlier process.
func (d *Driver) adopt(ctx context.Context) error {
	ctx = d.engine.Context(context.WithoutCancel(ctx))
	records, err := d.engine.Client().ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("adopt containers: %w", err)
	}
	var live []network.Endpoint
	for _, r := range records {
		in, status, err := d.revive(ctx, r)
		if err != nil {
			return fmt.Errorf("adopt container %s: %w", r.ID, err)
		}
		if in == nil {
			continue // its Start was interrupted
		}
		d.instances[r.ID] = in
		if status != nil {
			live = append(live, network.Endpoint{ID: in.id, Tenant: in.tenant, IP: in.ip, Access: in.access, PID: int(in.pid), App: runtime.AppOf(in.labels)})
			go d.watch(in, status)
		}
	}
	broken, err := d.net.Sync(live)
	if err != nil {
		return err
	}
	for id, cause := range broken {
		d.lostNetwork(id, cause)
	}
	if err := d.dropStreams(ctx); err != nil {
		return fmt.Errorf("adopt containers: %w", err)
	}
	return d.removeRemains(ctx)
}

// revive returns the instance of a container's record. If it runs, revive also returns the channel of its exit. It
// returns nil if the container's Start was interrupted.
func (d *Driver) revive(ctx context.Context, r containers.Container) (*instance, <-chan client.ExitStatus, error) {
	in := &instance{id: r.ID, labels: map[string]string{}, done: make(chan struct{})}
	for k, v := range r.Labels {
		if !strings.HasPrefix(k, labelPrefix) {
			in.labels[k] = v
		}
	}
	var err error
	if in.ip, err = netip.ParseAddr(r.Labels[labelIP]); err != nil {
		return nil, nil, fmt.Errorf("label %s: %w", labelIP, err)
	}
	tenant, err := strconv.ParseUint(r.Labels[labelTenant], 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("label %s: %w", labelTenant, err)
	}
	in.access = network.Access{Service: r.Labels[labelService], Reaches: strings.Fields(r.Labels[labelReaches])}
	in.tenant, in.stop, in.init = uint32(tenant), stopSignal(r.Labels[labelStop]), r.Labels[labelInit] != ""
	var begun started
	through, err := readJSON(filepath.Join(d.folder(r.ID), startedFile), &begun)
	if err != nil {
		return nil, nil, err
	}
	in.pid, in.started = begun.PID, begun.At
	if in.started.IsZero() {
		in.started = r.CreatedAt
	}

	task, status, err := d.loadTask(ctx, r.ID)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case task != nil && status.Status == client.Running, task != nil && status.Status == client.Paused:
		in.task, in.pid = task, task.Pid()
		if status.Status == client.Paused { // by a process that was killed
			if err := task.Resume(ctx); err != nil {
				return nil, nil, fmt.Errorf("let it run again: %w", err)
			}
		}
		if in.shim, err = d.shims.Adopt(r.ID, cmp.Or(r.Labels[labelShim], r.ID)); err != nil {
			return nil, nil, fmt.Errorf("its shim: %w", err)
		}
		if !through { // Start was interrupted before its last step
			if err := writeJSON(filepath.Join(d.folder(r.ID), startedFile), started{PID: in.pid, At: in.started}); err != nil {
				return nil, nil, err
			}
		}
		end, err := task.Wait(ctx)
		return in, end, err
	case !through && r.Labels[labelBoot] == d.boot:
		return nil, nil, nil
	}
	var x runtime.Exit
	known, err := readJSON(filepath.Join(d.folder(r.ID), exitFile), &x)
	switch {
	case err != nil:
		return nil, nil, err
	case known:
	case task != nil && status.Status == client.Stopped:
		x = d.exitOf(r.ID, int(status.ExitStatus), status.ExitTime)
	case r.Labels[labelBoot] != d.boot:
		x = runtime.Exit{Code: 137, Lost: true, At: time.Now(), Reason: "the machine was restarted"}
	default:
		x = runtime.Exit{Code: 137, Lost: true, At: time.Now(), Reason: "its shim ended"}
	}
	in.end(x)
	return in, nil, nil
}

func (d *Driver) loadTask(ctx context.Context, id string) (client.Task, client.Status, error) {
	ctr, err := d.engine.Client().LoadContainer(ctx, id)
	if err != nil {
		return nil, client.Status{}, err
	}
	task, err := ctr.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil, client.Status{}, nil
	}
	if err != nil {
		return nil, client.Status{}, err
	}
	status, err := task.Status(ctx)
	if errdefs.IsNotFound(err) {
		return nil, client.Status{}, nil
	}
	return task, status, err
}

// removeRemains removes everything on the host that belongs to no completely started container.
func (d *Driver) removeRemains(ctx context.Context) error {
	// First list what is on the host, then ask which containers exist: so a container that starts meanwhile is not
	// taken for a remain.
	var found []string
	records, err := d.engine.Client().ContainerService().List(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		found = append(found, r.ID)
	}
	store := d.engine.Client().SnapshotService(engine.Snapshotter)
	err = store.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		found = append(found, i.Labels[labelInstance])
		return nil
	}, fmt.Sprintf("labels.%q", labelInstance))
	if err != nil {
		return err
	}
	folders, err := os.ReadDir(filepath.Join(d.engine.State(), "i"))
	if err := ignoreMissing(err); err != nil {
		return err
	}
	for _, f := range folders {
		found = append(found, f.Name())
	}
	slices.Sort(found)

	var errs []error
	for _, id := range slices.Compact(found) {
		if _, err := d.lookup(id); err == nil || d.claim(id) != nil {
			continue
		}
		if _, err := d.lookup(id); err != nil { // its Start may have finished before the claim
			errs = append(errs, d.remove(ctx, id))
		}
		d.release(id)
	}
	keep := map[string]bool{}
	d.mu.Lock()
	for id, in := range d.instances {
		keep[id] = in.exited() == nil
	}
	d.mu.Unlock()
	return errors.Join(append(errs, d.net.Sweep(keep))...)
}

// KeepExits records the exit codes of containers that ended while micro did not run. Call it before the engine opens:
// containerd removes ended containers at its start, and with them their shims, which have the exit codes.
func KeepExits(cfg engine.Config) error {
	at, err := hierarchies()
	if err != nil {
		return err
	}
	bundles, err := filepath.Glob(cfg.Bundle("*"))
	if err != nil {
		return fmt.Errorf("exits of containers: %w", err)
	}
	for _, bundle := range bundles {
		id := filepath.Base(bundle)
		var shim struct { // the shim's format
			Timestamp time.Time
			Status    int
		}
		ended, err := readJSON(filepath.Join(bundle, "exit.json"), &shim)
		if err != nil || !ended {
			continue // missing or incomplete: then the shim still runs and will answer
		}
		file := filepath.Join(instanceFolder(cfg.State, id), exitFile)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		x := runtime.Exit{Code: shim.Status, At: shim.Timestamp}
		if kills, err := (cgroup{at, cgroupPath(cfg.State, id)}).oomKills(); err == nil && x.Code != 0 {
			x.OOM = kills > 0
		}
		if err := writeJSON(file, x); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("exit of container %s: %w", id, err)
		}
	}
	return nil
}
