package leader

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

const www = cloud.Host("www.example.com")

var shop = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}

// site is a cloud with one host, in front of shop@r1, whose requests are counted by a fake router.
type site struct {
	*testing.T
	snapshots *cloud.Cell

	mu      sync.Mutex
	state   *cloud.State
	written []string // the verbs of what leaders wrote
	counted map[int]traffic.Sample
	memory  int64 // that r2 uses, of 100
	events  []Event
	notes   map[string][]byte
}

// in runs a test in a bubble of its own time, which begins at midnight.
func in(t *testing.T, test func(*site)) {
	synctest.Test(t, func(t *testing.T) {
		w := &site{T: t, snapshots: cloud.NewCell(), state: cloud.NewState(), counted: map[int]traffic.Sample{}, notes: map[string][]byte{}}
		w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.Init(w.stamp()), nil })
		for n := 1; n <= 2; n++ {
			w.do(func(s *cloud.State) ([]cloud.Change, error) {
				changes, _, err := s.Push(cloud.Push{App: shop, Stage: n == 2, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1", Name: "one"}},
					Spec: cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {}}}}, w.stamp())
				return changes, err
			})
			w.snapshots.Observe(func(o *cloud.Instances) *cloud.Instances {
				slot := cloud.Slot{ReleaseRef: shop.Release(n), Process: cloud.Web}
				return o.With(&cloud.Instance{ID: cloud.InstanceID(slot.String()), Slot: slot, Phase: cloud.InstanceReady, Addr: netip.MustParseAddrPort("10.0.0.1:80")})
			})
		}
		w.do(func(s *cloud.State) ([]cloud.Change, error) {
			return s.FinishRollout(shop, time.Now().Add(time.Hour), w.stamp()), nil
		})
		w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.MarkUp(shop.Release(2)), nil })
		w.do(func(s *cloud.State) ([]cloud.Change, error) {
			return s.Map(cloud.Map{Host: www, Path: "/", Target: cloud.Target{ReleaseRef: shop.Release(0)}}, w.stamp())
		})
		test(w)
	})
}

func (w *site) stamp() cloud.Stamp { return cloud.Stamp{At: time.Now().UTC(), By: "ann"} }

// do changes the state as a person does.
func (w *site) do(change func(*cloud.State) ([]cloud.Change, error)) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, err := change(w.state)
	if err != nil {
		w.Fatal(err)
	}
	w.state = w.state.Apply(w.state.Rev()+1, changes)
	w.snapshots.SetState(w.state)
}

// Write implements Writer.
func (w *site) Write(_ context.Context, verb, _ string, change func(*cloud.State) ([]cloud.Change, error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, err := change(w.state)
	if err == nil && len(changes) > 0 {
		w.state = w.state.Apply(w.state.Rev()+1, changes)
		w.snapshots.SetState(w.state)
		w.written = append(w.written, verb)
	}
	return err
}

// Sample implements Counts.
func (w *site) Sample(_ cloud.Host, _ string, r cloud.ReleaseRef) traffic.Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counted[r.N]
}

// Usage implements Usages: an instance of r1 has used a second of processor time, one of r2 three, for each 100 requests.
func (w *site) Usage(_ context.Context, id cloud.InstanceID) (Usage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(string(id), "@r2") {
		return Usage{CPU: time.Duration(w.counted[2].Requests) * 30 * time.Millisecond, Memory: w.memory << 20, Limit: 100 << 20}, nil
	}
	return Usage{CPU: time.Duration(w.counted[1].Requests) * 10 * time.Millisecond, Memory: 50 << 20, Limit: 100 << 20}, nil
}

// Requests implements Counts.
func (w *site) Requests(r cloud.ReleaseRef) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counted[r.N].Requests
}

// Metrics implements Usages: an instance of r1 has made an order for each two requests, one of r2 none.
func (w *site) Metrics(_ context.Context, i *cloud.Instance, _ []cloud.MetricGuard) map[string]float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i.N == 2 {
		return map[string]float64{"orders_total": 0}
	}
	return map[string]float64{"orders_total": float64(w.counted[1].Requests / 2)}
}

// Note implements Events.
func (w *site) Note(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// Load implements Notes.
func (w *site) Load(string) (map[string][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.notes), nil
}

// Save implements Notes.
func (w *site) Save(values map[string][]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.notes, values)
	return nil
}

// Forget implements Notes.
func (w *site) Forget(keys ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.notes, key)
	}
	return nil
}

// count adds requests to what a release did.
func (w *site) count(release int, requests, errors uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.counted[release]
	s.Requests, s.Errors = s.Requests+requests, s.Errors+errors
	w.counted[release] = s
}

// countStarted adds requests that were started, and so many of them that were answered well.
func (w *site) countStarted(release int, started, ended uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.counted[release]
	s.Requests, s.Started, s.Ended = s.Requests+ended, s.Started+started, s.Ended+ended
	w.counted[release] = s
}

// faded is how the last cross-fade ended.
func (w *site) faded() *cloud.Faded {
	w.mu.Lock()
	defer w.mu.Unlock()
	vhost, _ := w.state.VirtualHost(www)
	r, _ := vhost.Route("/")
	return r.Faded
}

// serve counts requests to both releases for some seconds, so many a second, of which the new one fails some.
func (w *site) serve(seconds int, requests, failing uint64) {
	for range seconds {
		w.count(1, requests, 0)
		w.count(2, requests, failing)
		time.Sleep(time.Second)
	}
}

// lead starts a leader's duty for cross-fades.
func (w *site) lead() (c *Crossfades, stop func()) {
	c = NewCrossfades(CrossfadeConfig{
		Views: w.snapshots, Writer: w, Counts: w, Usages: w, Events: w, Notes: w, Log: slog.New(slog.DiscardHandler), Warm: DefaultWarm,
		Now: func() time.Time { return time.Now().UTC() },
	})
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	}
}

// fade begins a cross-fade to r2 that takes a minute a step.
func (w *site) fade() {
	w.Helper()
	w.do(func(s *cloud.State) ([]cloud.Change, error) {
		return s.BeginCrossfade(www, "/", shop.Release(2), []int{10, 50, 100}, cloud.FadePlan{
			Over: cloud.Duration(2 * time.Minute), Guards: []string{string(traffic.Errors)}, Errors: 0.01, Latency: 0.2,
			Max: cloud.Duration(time.Hour), OnInconclusive: cloud.InconclusiveHold,
		}, false, w.stamp())
	})
}

func (w *site) step() int {
	w.Helper()
	synctest.Wait()
	vhost, ok := w.snapshots.View().State.VirtualHost(www)
	if !ok {
		w.Fatal("no host")
	}
	route, _ := vhost.Route("/")
	if route.Crossfade == nil {
		return -1
	}
	return route.Crossfade.Step
}

func (w *site) expectStep(want int) {
	w.Helper()
	if got := w.step(); got != want {
		w.Fatalf("step %d, want %d (-1 is none)", got, want)
	}
}

// A cross-fade goes on when its releases are alike, and goes back when the new one fails.
func TestCrossfadeMoves(t *testing.T) {
	in(t, func(w *site) {
		_, stop := w.lead()
		defer stop()
		w.fade()
		w.expectStep(1)
		w.serve(61, 300, 0)
		w.expectStep(2)
		w.serve(8, 300, 270)
		w.expectStep(-1)
		vhost, _ := w.state.VirtualHost(www)
		route, _ := vhost.Route("/")
		if route.Faded == nil || route.Faded.Finished || route.Faded.By != "micro" {
			t.Errorf("%+v", route.Faded)
		}
		var told []string
		for _, e := range w.events {
			told = append(told, e.Kind+" "+e.Object)
		}
		rel, _ := w.state.Release(shop.Release(2))
		if len(rel.Fades) != 1 || len(rel.Fades[0].Steps) != 4 {
			t.Fatalf("record: %+v", rel.Fades)
		}
		record := rel.Fades[0]
		if last := record.Steps[3]; record.Finished || record.EndedBy != "micro" || last.What != "aborted" || last.Share != 0 || last.Figures == nil ||
			last.Figures.Verdict != "worse" || last.Figures.New.Errors == 0 || last.Figures.New.Errors*10 != last.Figures.New.Requests*9 || last.Figures.Old.Errors != 0 {
			t.Errorf("record: %+v", record)
		}
		if want := []string{"crossfade.verdict www.example.com/", "crossfade.verdict www.example.com/"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// Who leads next goes on with the evidence of who led before.
func TestEvidenceOutlivesALeader(t *testing.T) {
	in(t, func(w *site) {
		_, stop := w.lead()
		w.fade()
		w.serve(50, 300, 0)
		stop()
		clear(w.counted) // the router's counts begin anew with its process
		c, stop := w.lead()
		defer stop()
		w.serve(2, 10, 0)
		j, ok := c.Judge(w.snapshots.View(), www, "/")
		if !ok || j.New.Requests < 14_000 {
			t.Errorf("%v: %d requests are known of 15,000", ok, j.New.Requests)
		}
		w.serve(10, 300, 0)
		w.expectStep(2)
		w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.AbortCrossfade(www, "/", "", nil, w.stamp()) })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(w.notes) > 0 {
			t.Errorf("notes of a fade that has ended: %d", len(w.notes))
		}
	})
}

// Two nodes that both believe to lead take each step once.
func TestTwoLeadersTakeOneStep(t *testing.T) {
	in(t, func(w *site) {
		for range 2 {
			_, stop := w.lead()
			defer stop()
		}
		w.fade()
		synctest.Wait()
		w.serve(61, 300, 0)
		w.expectStep(2)
		if len(w.written) != 2 {
			t.Errorf("written: %q", w.written)
		}
	})
}

// Reading a judgement has no part in what is judged: a thousand reads leave the same as none.
func TestReadingChangesNothing(t *testing.T) {
	verdicts := map[bool]Judgement{}
	for _, reads := range []bool{false, true} {
		in(t, func(w *site) {
			c, stop := w.lead()
			defer stop()
			w.do(func(s *cloud.State) ([]cloud.Change, error) { // two targets that nobody fades
				return s.Traffic(www, "/", map[cloud.ReleaseRef]int{shop.Release(1): 1, shop.Release(2): 1})
			})
			synctest.Wait()
			for range 100 {
				w.count(1, 10, 0)
				w.count(2, 10, 1)
				time.Sleep(3 * time.Second)
				if reads {
					c.Judge(w.snapshots.View(), www, "/")
				}
			}
			synctest.Wait()
			j, ok := c.Judge(w.snapshots.View(), www, "/")
			if !ok || j.New.Requests < 900 {
				t.Fatalf("%v %+v", ok, j)
			}
			j.Fade = nil
			verdicts[reads] = j
		})
	}
	if a, b := verdicts[false], verdicts[true]; a.Verdict != b.Verdict || a.Decision != b.Decision || a.Findings[0] != b.Findings[0] {
		t.Errorf("without reads\n%+v\nwith\n%+v", a, b)
	}
}

// What the instances use is compared: an instance that fills its memory leads back.
func TestResourcesAreCompared(t *testing.T) {
	in(t, func(w *site) {
		c, stop := w.lead()
		defer stop()
		w.fade()
		w.expectStep(1)
		w.serve(40, 300, 0)
		j, _ := c.Judge(w.snapshots.View(), www, "/")
		// What is counted between two looks at the usage is not in both.
		near := func(d, want time.Duration) bool { return d > want*8/10 && d < want*12/10 }
		if !near(j.OldCPU, 10*time.Millisecond) || !near(j.NewCPU, 30*time.Millisecond) {
			t.Errorf("a request takes %s and %s of processor time, want about 10ms and 30ms", j.OldCPU, j.NewCPU)
		}
		w.mu.Lock()
		w.memory = 99
		w.mu.Unlock()
		w.serve(50, 300, 0)
		w.expectStep(2)
		w.serve(30, 300, 0)
		w.expectStep(-1)
		if f := w.faded(); f.Finished || !strings.Contains(f.Reason, "memory") {
			t.Errorf("%+v", f)
		}
	})
}

// Shares that come out unlike the weights are a fault of measurement, and hold the fade.
func TestUnlikeSharesHold(t *testing.T) {
	in(t, func(w *site) {
		c, stop := w.lead()
		defer stop()
		w.fade()
		w.expectStep(1)
		for range 90 {
			w.countStarted(1, 90, 90)
			w.countStarted(2, 50, 50) // instead of 10
			time.Sleep(time.Second)
		}
		w.expectStep(1)
		if j, _ := c.Judge(w.snapshots.View(), www, "/"); j.Verdict != traffic.Inconclusive || !strings.Contains(j.Decision.Why, "instead of 10.0 %") {
			t.Errorf("%s: %+v", j.Verdict, j.Decision)
		}
	})
}

// A guard of processor time finds what needs three times as much, one of a counter what takes no orders. Without these
// guards both get through.
func TestGuardsOfAmounts(t *testing.T) {
	for _, c := range []struct {
		guards  []string
		metrics []cloud.MetricGuard
		why     string // "" for none
	}{
		{[]string{"errors"}, nil, ""},
		{[]string{"errors", "cpu"}, nil, "cpu got worse: 30 ms of processor time a request, before 10"},
		{[]string{"errors"}, []cloud.MetricGuard{{Metric: "orders_total", Less: .05}}, "metric orders_total got worse: 0 orders_total a request, before 0.5"},
		{nil, []cloud.MetricGuard{{Metric: "orders_total", Less: .05}}, ""},
	} {
		in(t, func(w *site) {
			w.do(func(s *cloud.State) ([]cloud.Change, error) {
				rel, _ := s.Release(shop.Release(2))
				next := *rel
				next.Spec.Guards = c.metrics
				return []cloud.Change{cloud.Put(&next)}, nil
			})
			_, stop := w.lead()
			defer stop()
			w.do(func(s *cloud.State) ([]cloud.Change, error) {
				plan := cloud.DefaultFade()
				plan.Guards, plan.Over = c.guards, cloud.Duration(10*time.Minute)
				return s.BeginCrossfade(www, "/", shop.Release(2), []int{50, 100}, plan, false, w.stamp())
			})
			w.serve(300, 50, 0)
			f := w.faded()
			if c.why == "" && f != nil {
				t.Errorf("%v: %s", c.guards, f.Reason)
			}
			if c.why != "" && (f == nil || !strings.Contains(f.Reason, c.why)) {
				t.Errorf("%v: %+v, want %q", c.guards, f, c.why)
			}
		})
	}
}

// With the guard of memory, what uses half as much again for a minute goes back.
func TestGuardOfMemory(t *testing.T) {
	for _, guards := range [][]string{{"errors"}, {"errors", "memory"}} {
		in(t, func(w *site) {
			_, stop := w.lead()
			defer stop()
			w.mu.Lock()
			w.memory = 90
			w.mu.Unlock()
			w.do(func(s *cloud.State) ([]cloud.Change, error) {
				plan := cloud.DefaultFade()
				plan.Guards, plan.Over = guards, cloud.Duration(10*time.Minute)
				return s.BeginCrossfade(www, "/", shop.Release(2), []int{50, 100}, plan, false, w.stamp())
			})
			w.serve(50, 20, 0)
			if f := w.faded(); f != nil {
				t.Errorf("%v: too early: %s", guards, f.Reason)
			}
			w.serve(30, 20, 0)
			if f := w.faded(); (f != nil) != (len(guards) == 2) || f != nil && !strings.Contains(f.Reason, "memory got worse: an instance uses 90 of 100 MB") {
				t.Errorf("%v: %+v", guards, f)
			}
		})
	}
}
