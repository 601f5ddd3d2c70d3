package handler

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Usage is what instances use of the machine.
type Usage interface {
	Stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error)
}

// Requests are those that the routers of all nodes have counted.
type Requests interface {
	// Figures returns the figures of each release that got requests, by app and release.
	Figures(ctx context.Context) []api.ReleaseFigures
	// OfInstances returns the requests of each instance that the routers know.
	OfInstances(ctx context.Context) map[cloud.InstanceID]InstanceRequests
}

// InstanceRequests are the requests of an instance.
type InstanceRequests struct {
	Total    uint64 `json:"total,omitempty"`     // since it joined the routing table
	InFlight int64  `json:"in_flight,omitempty"` // requests and upgraded connections that have not ended
}

type instancesInput struct {
	GroupInput
	Paging
	App     cloud.AppName     `query:"app" maxLength:"64"`
	Release int               `query:"release" minimum:"0"`
	Process cloud.ProcessName `query:"process" maxLength:"64"`
	Stats   bool              `query:"stats" doc:"with cpu, memory, processes, zombies, threads, oom_kills, requests and in_flight"`
}

func (h *Handler) serveInstances() {
	get(h, operation("instances", "GET /v1/groups/{group}/instances", "List instances, and places that wait for one"),
		func(ctx context.Context, in *instancesInput) (api.List[api.Instance], error) {
			v := h.view(ctx)
			if err := mustGroup(v.State, in.Group); err != nil {
				return api.List[api.Instance]{}, err
			}
			var apps iter.Seq[*cloud.App] = v.State.Apps(in.Group)
			if in.App != "" {
				app, err := v.State.MustApp(cloud.AppRef{Group: in.Group, App: in.App})
				if err != nil {
					return api.List[api.Instance]{}, err
				}
				if _, _, err := v.State.MustRelease(app.Release(in.Release)); err != nil && in.Release != 0 {
					return api.List[api.Instance]{}, err
				}
				apps = slices.Values([]*cloud.App{app})
			}
			sees := h.sees(ctx)
			apps = filter(apps, func(a *cloud.App) bool { return sees(a.AppRef) && (a.Service == nil || in.App != "") })
			list := page(in.places(v, apps), in.Paging, place.key, place.show)
			if in.Stats {
				h.addStats(ctx, list.Items)
			}
			return list, nil
		})
	get(h, operation("figures", "GET /v1/groups/{group}/figures", "List the requests that releases got"),
		func(ctx context.Context, in *struct {
			GroupInput
			App cloud.AppName `query:"app" maxLength:"64"`
		}) (api.List[api.ReleaseFigures], error) {
			if err := mustGroup(h.Store.State(), in.Group); err != nil {
				return api.List[api.ReleaseFigures]{}, err
			}
			sees := h.sees(ctx)
			return whole(slices.DeleteFunc(h.Requests.Figures(ctx), func(f api.ReleaseFigures) bool {
				return f.Group != in.Group || in.App != "" && f.App != in.App || !sees(cloud.AppRef{Group: f.Group, App: f.App})
			})), nil
		})
}

// addStats asks the runner what the instances use, and the router what they got; one that ended meanwhile has none.
func (h *Handler) addStats(ctx context.Context, items []api.Instance) {
	var asked sync.WaitGroup
	atOnce := make(chan struct{}, 16)
	got := h.Requests.OfInstances(ctx)
	for i := range items {
		it := &items[i]
		if it.Instance == "" {
			continue
		}
		if n, ok := got[it.Instance]; ok {
			it.Requests, it.InFlight = &n.Total, &n.InFlight
		}
		atOnce <- struct{}{}
		asked.Go(func() {
			defer func() { <-atOnce }()
			s, err := h.Usage.Stats(ctx, it.Instance)
			if err != nil {
				return
			}
			cpu := s.CPU.Seconds()
			it.CPU, it.Memory, it.OOMKills = &cpu, &s.Memory, &s.OOMKills
			it.Processes, it.Zombies, it.Threads = &s.Processes, &s.Zombies, &s.Pids
			if s.MemoryLimit > 0 {
				it.MemoryLimit = s.MemoryLimit
			}
		})
	}
	asked.Wait()
}

// place is a slot with what is in it; instance is nil for one that waits for one.
type place struct {
	slot     cloud.Slot
	phase    cloud.Phase // of the release
	instance *cloud.Instance
	crashes  *cloud.Crashes
	memory   int64
}

func (p place) key() string {
	id := cloud.InstanceID("")
	if p.instance != nil {
		id = p.instance.ID
	}
	return fmt.Sprintf("%s/%08d/%s/%06d/%s", p.slot.App, p.slot.N, p.slot.Process, p.slot.Index, id)
}

// places yields all that runs or is to run of the apps, in the order of their keys.
func (in *instancesInput) places(v cloud.View, apps iter.Seq[*cloud.App]) iter.Seq[place] {
	return func(yield func(place) bool) {
		for app := range apps {
			for rel := range v.State.Releases(app.AppRef) {
				if in.Release != 0 && rel.N != in.Release {
					continue
				}
				for _, p := range placesOf(v, rel) {
					if in.Process != "" && p.slot.Process != in.Process {
						continue
					}
					if !yield(p) {
						return
					}
				}
			}
		}
	}
}

func placesOf(v cloud.View, rel *cloud.Release) []place {
	var out []place
	phase := v.State.PhaseOf(rel)
	filled := map[cloud.Slot]bool{}
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		c, _ := v.Instances.Crashes(i.Slot)
		out = append(out, place{i.Slot, phase, i, c, rel.Formation[i.Process].Memory})
		filled[i.Slot] = filled[i.Slot] || i.Phase.Live()
	}
	if v.State.Runs(rel) {
		for name, scale := range v.State.Wanted(rel) {
			if name == cloud.ReleaseCommand {
				continue
			}
			for index := range scale.Instances {
				slot := cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}
				c, _ := v.Instances.Crashes(slot)
				if !filled[slot] {
					out = append(out, place{slot, phase, nil, c, scale.Memory})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.key(), b.key()) })
	return out
}

func (p place) show() api.Instance {
	out := api.Instance{
		Group: p.slot.Group, App: p.slot.App, Release: p.slot.N, ReleasePhase: p.phase, Process: p.slot.Process, Index: p.slot.Index,
		Phase: api.Pending, MemoryLimit: p.memory,
	}
	if c := p.crashes; c != nil {
		out.Restarts = c.Total
		last := c.Last
		out.Exit, out.Ended = &last, c.Reason
		if p.instance == nil {
			out.Reason = c.Reason
			next := c.NextTry
			out.NextTry = &next
			out.Phase = api.Crashed
			if c.Count > cloud.Flapping {
				out.Phase = api.Flapping
			}
		}
	}
	i := p.instance
	if i == nil {
		return out
	}
	out.Instance, out.Node, out.Phase, out.PID, out.Reason = i.ID, i.Node, api.InstancePhase(i.Phase), i.PID, i.Reason
	if !i.Since.IsZero() {
		out.Since = &i.Since
	}
	if !i.Started.IsZero() {
		out.Started = &i.Started
	}
	switch {
	case i.Addr.IsValid() && i.Addr.Port() == 0: // a process that nobody asks
		out.Address = i.Addr.Addr().String()
	case i.Addr.IsValid():
		out.Address = i.Addr.String()
	}
	if i.Exit != nil {
		out.Exit = i.Exit
	}
	return out
}

// pick chooses the instance that a command is to run in.
func pick(v cloud.View, app cloud.AppRef, c api.Command) (*cloud.Instance, error) {
	ps := "micro ps " + app.String()
	if c.Instance != "" {
		i, ok := v.Instances.Get(c.Instance)
		if !ok || i.AppRef != app {
			return nil, cloud.Errorf(cloud.NotFound, "app %s has no instance %q", app, c.Instance).WithHint("%s", ps)
		}
		return i, nil
	}
	ref := app.Release(c.Release)
	ref.N = current(v.State, ref)
	_, rel, err := v.State.MustRelease(ref)
	if err != nil {
		return nil, err
	}
	process := cmp.Or(c.Process, rel.Spec.Main())
	if _, ok := rel.Spec.Processes[process]; !ok {
		return nil, cloud.Errorf(cloud.NotFound, "release %s has no process %q", rel.ReleaseRef, process).WithHint("%s", ps)
	}
	var best *cloud.Instance
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		if i.Process != process || c.Index != nil && i.Index != *c.Index || i.Phase == cloud.InstanceExited {
			continue
		}
		if best == nil || rank(i) < rank(best) {
			best = i
		}
	}
	if best == nil {
		what := string(process)
		if c.Index != nil {
			what = fmt.Sprintf("%s.%d", process, *c.Index)
		}
		return nil, cloud.Errorf(cloud.Conflict, "no instance of %s runs in release %s", what, rel.ReleaseRef).WithHint("%s", ps)
	}
	return best, nil
}

// rank prefers those that are well, and among equals the first.
func rank(i *cloud.Instance) int {
	return slices.Index([]cloud.InstancePhase{
		cloud.InstanceReady, cloud.InstanceUnready, cloud.InstanceStarting, cloud.InstanceDraining, cloud.InstanceStopping, cloud.InstanceExited,
	}, i.Phase)
}
