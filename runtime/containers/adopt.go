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

// List has every container of this node, ended ones too, by ID.
func (d *Driver) List(ctx context.Context) ([]runtime.Running, error) {
	if err := d.sweep(d.engine.Context(ctx)); err != nil {
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

// adopt finds the containers that an earlier process started.
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
			continue // half made
		}
		d.instances[r.ID] = in
		if status != nil {
			live = append(live, network.Endpoint{ID: in.id, Tenant: in.tenant, IP: in.ip, PID: int(in.pid)})
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
	return d.sweep(ctx)
}

// revive makes an instance of a record: one that runs, with the channel that tells its end, or one that
// has ended. There is none where Start did not get through.
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
		if in.shim, err = d.shims.Adopt(r.ID, cmp.Or(r.Labels[labelShim], r.ID)); err != nil {
			return nil, nil, fmt.Errorf("its shim: %w", err)
		}
		if !through { // all but the last word of Start was there
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

// sweep removes what is on the host without a container that was wholly started.
func (d *Driver) sweep(ctx context.Context) error {
	// What there is, first; what there may be, after: so that nothing which comes up in between is taken
	// for a leftover.
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
	if err := missing(err); err != nil {
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
		if _, err := d.lookup(id); err != nil { // a Start may have got through before the claim
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

// KeepExits writes down how containers ended while micro did not run. It has to be called before the engine
// opens: containerd, when it starts, removes ended containers, and with them the shims that know.
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
		var shim struct { // as the shim writes it
			Timestamp time.Time
			Status    int
		}
		ended, err := readJSON(filepath.Join(bundle, "exit.json"), &shim)
		if err != nil || !ended {
			continue // not yet, or not written to its end: then the shim still answers
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
