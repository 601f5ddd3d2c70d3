package handler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// fakes are a node in memory: a store, and a runner that makes every release ready at once.
type fakes struct {
	t         *testing.T
	snapshots *cloud.Cell

	mu    sync.Mutex
	state *cloud.State
	audit []string

	// settle is called for a release that is on its way up; nil makes it current.
	settle func(s *cloud.State, rel *cloud.Release) []cloud.Change
	build  func(ctx context.Context, b runtime.Build) (runtime.Image, error)
	exec   func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error)
	lines  iter.Seq2[api.LogLine, error]
	info   api.Node
	sight  Sight
	panics bool
	group  string // of admins
}

func newFakes(t *testing.T) *fakes {
	f := &fakes{t: t, group: "no-such-group", snapshots: cloud.NewCell(), info: api.Node{Name: "n1", Ready: true, Domain: "micro.test", HTTP: []string{}, DNS: []string{}}}
	s := cloud.NewState()
	f.state = s.Apply(1, s.Init(cloud.Stamp{At: time.Now(), By: "test"}))
	f.snapshots.SetState(f.state)
	return f
}

func (f *fakes) State() *cloud.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *fakes) Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := fn(f.state); err != nil { // run twice, as after a conflict
		return nil, err
	}
	changes, err := fn(f.state)
	if err != nil {
		return nil, err
	}
	f.audit = append(f.audit, fmt.Sprintf("%s %s %s", by.Name, verb, object))
	if len(changes) > 0 {
		f.state = f.state.Apply(f.state.Rev()+1, changes)
	}
	s := f.state
	go f.snapshots.SetState(s) // a view lags behind
	return s, nil
}

// onSettle changes what becomes of releases on their way up.
func (f *fakes) onSettle(settle func(*cloud.State, *cloud.Release) []cloud.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle = settle
}

func (f *fakes) stuck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settle != nil
}

// lead does what a node's runner does, on the snapshot cell alone.
func (f *fakes) lead(ctx context.Context) {
	view := f.snapshots.View()
	for ctx.Err() == nil {
		for rel := range view.State.AllReleases() {
			f.start(view, rel)
			if view.State.PhaseOf(rel) == cloud.PhaseStarting {
				_, err := f.Update(ctx, cloud.Actor{Name: "micro"}, "settle", rel.ReleaseRef.String(), func(s *cloud.State) ([]cloud.Change, error) {
					now, ok := s.Release(rel.ReleaseRef)
					if !ok || s.PhaseOf(now) != cloud.PhaseStarting {
						return nil, nil
					}
					if f.settle != nil {
						return f.settle(s, now), nil
					}
					if now.Staged {
						return s.MarkUp(now.ReleaseRef), nil
					}
					return s.Settle(now.AppRef, time.Now().Add(time.Minute), cloud.Stamp{At: time.Now()}), nil
				})
				if err != nil {
					f.t.Error(err)
				}
			}
		}
		var err error
		if view, err = f.snapshots.Changed(ctx, view); err != nil {
			return
		}
	}
}

func (f *fakes) start(v cloud.View, rel *cloud.Release) {
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		if !v.State.Runs(rel) || i.Index >= rel.Formation[i.Process].Instances || i.Generation < rel.Generation {
			f.snapshots.Observe(func(o *cloud.Instances) *cloud.Instances { return o.Without(i.ID) })
		}
	}
	if !v.State.Runs(rel) || f.stuck() {
		return
	}
	for name, scale := range rel.Formation {
		for index := range scale.Instances {
			i := &cloud.Instance{
				ID: cloud.InstanceID(fmt.Sprintf("%s-r%d-%s-%d-g%d", rel.App, rel.N, name, index, rel.Generation)), Generation: rel.Generation,
				Slot: cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}, Phase: cloud.InstanceReady, PID: 4711, Node: "n1",
				Addr: netip.MustParseAddrPort("10.0.0.2:8080"), Since: time.Now(), Started: time.Now(),
			}
			f.snapshots.Observe(func(o *cloud.Instances) *cloud.Instances {
				if _, ok := o.Get(i.ID); ok {
					return o
				}
				return o.With(i)
			})
		}
	}
}

func (f *fakes) View() cloud.View {
	if f.panics {
		panic("on purpose")
	}
	return f.snapshots.View()
}

func (f *fakes) Changed(ctx context.Context, old cloud.View) (cloud.View, error) {
	return f.snapshots.Changed(ctx, old)
}

func (f *fakes) Exec(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
	return f.exec(ctx, id, c)
}

func (f *fakes) Run(ctx context.Context, o OneOff) (int, error) {
	return f.exec(ctx, cloud.InstanceID(o.Release.String()), o.Command)
}

func (f *fakes) Stats(context.Context, cloud.InstanceID) (runtime.Stats, error) {
	return runtime.Stats{CPU: 1500 * time.Millisecond, Memory: 1 << 20, MemoryLimit: 1 << 30, Pids: 3}, nil
}

var anImage = runtime.Image{Digest: "sha256:1111", Name: "docker.io/library/web:1", Ports: []int{8080}}

func (f *fakes) Pull(ctx context.Context, ref string, progress func(runtime.Progress)) (runtime.Image, error) {
	if ref == "nowhere" {
		return runtime.Image{}, cloud.Errorf(cloud.NotFound, "no image %q", ref)
	}
	progress(runtime.Progress{ID: "layer", Name: "layer", Total: 10})
	return anImage, nil
}

func (f *fakes) Import(ctx context.Context, r io.Reader, progress func(runtime.Progress)) (runtime.Image, error) {
	_, err := io.Copy(io.Discard, r)
	return anImage, err
}

func (f *fakes) Load(ctx context.Context, r io.Reader, progress func(runtime.Progress)) (runtime.Image, error) {
	return f.Import(ctx, r, progress)
}

func (f *fakes) List(context.Context) ([]runtime.Image, error) { return []runtime.Image{anImage}, nil }

func (f *fakes) Build(ctx context.Context, b runtime.Build) (runtime.Image, error) {
	if f.build != nil {
		return f.build(ctx, b)
	}
	b.Progress(runtime.Progress{ID: "1", Name: "[1/1] FROM scratch", Log: []byte("hello\nwor")})
	b.Progress(runtime.Progress{ID: "1", Log: []byte("ld\n")})
	return anImage, nil
}

type fakeLogs struct{ f *fakes }

func (l fakeLogs) Read(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogLine, error] {
	return l.f.lines
}

type fakeEvents struct{}

func (fakeEvents) Read(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if !yield(api.Event{Kind: "push", Object: "shop@r1", Cursor: "1.1"}, nil) || !q.Follow {
			return
		}
		<-ctx.Done()
		yield(api.Event{}, ctx.Err())
	}
}

func (f *fakes) Info() api.Node             { return f.info }
func (f *fakes) URLs(h cloud.Host) []string { return []string{"http://" + string(h)} }
func (f *fakes) Doctor(context.Context) []api.Check {
	return []api.Check{{Name: "root", Status: api.OK}}
}
func (f *fakes) Disk(context.Context) (api.Disk, error) {
	return api.Disk{Parts: []api.DiskPart{}}, nil
}
func (f *fakes) Down() {}

func (f *fakes) Pass(h cloud.Host, r cloud.ReleaseRef, until time.Time) string {
	return fmt.Sprintf("r%d for %s until %s", r.N, h, until.Format(time.RFC3339))
}

func (f *fakes) DropVolumes(cloud.AppRef) error { return nil }

func (f *fakes) Look(context.Context, Visit) Sight { return f.sight }

func (f *fakes) Requests() map[cloud.InstanceID]Requests {
	return map[cloud.InstanceID]Requests{"i1": {Total: 7, InFlight: 2}}
}

func (f *fakes) Figures() []api.ReleaseFigures {
	return []api.ReleaseFigures{{Group: "default", App: "blog", Release: 1}, {Group: "default", App: "shop", Release: 7}, {Group: "qa", App: "shop", Release: 1}}
}

func (f *fakes) Metrics(w io.Writer) error {
	_, err := io.WriteString(w, "micro_instances 1\n")
	return err
}

func (f *fakes) Compare(_ context.Context, h cloud.Host, path string) (api.Comparison, error) {
	return api.Comparison{Host: h, Path: path, Releases: []api.Compared{}}, nil
}

func (f *fakes) Prune(context.Context) (api.Pruned, error) { return api.Pruned{Bytes: 7}, nil }

// unpack stands in for the reader of tar streams: what comes is the Dockerfile.
func unpack(r io.Reader, dir string) error {
	b, err := io.ReadAll(r)
	if err != nil || string(b) == "empty" {
		return err
	}
	if string(b) == "evil" {
		return cloud.Errorf(cloud.Invalid, "the upload has a path outside the folder")
	}
	return os.WriteFile(filepath.Join(dir, "Dockerfile"), b, 0o600)
}

// served is a handler on a unix socket, its client and its fakes.
type served struct {
	f *fakes
	*api.Client
	h    *Handler
	dir  string
	sock string
	stop func()
}

func (f *fakes) config(dir string) Config {
	return Config{
		Store: f, Runner: f, Images: f, Builder: f, Logs: fakeLogs{f}, Events: fakeEvents{}, Node: f, Unpack: unpack, Dir: dir,
		Version: api.Version{Version: "1.0", Go: "go", API: "v1"}, AdminGroup: f.group, Log: slog.New(slog.DiscardHandler),
	}
}

// serve runs a handler; f is kept from one to the next where a test restarts it.
func serveFakes(t *testing.T, f *fakes, dir string) *served {
	t.Helper()
	return serveConfig(t, f, f.config(dir))
}

func serveConfig(t *testing.T, f *fakes, c Config) *served {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "mh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	sock := filepath.Join(sockets, "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(sockets, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(sock, 0o777); err != nil {
		t.Fatal(err)
	}
	client, err := api.New("unix://" + sock)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Run(ctx, l); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	running.Go(func() { f.lead(ctx) })
	s := &served{f: f, Client: client, h: h, dir: c.Dir, sock: sock}
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		client.Close()
	})
	t.Cleanup(s.stop)
	return s
}

func newServed(t *testing.T) *served { return serveFakes(t, newFakes(t), t.TempDir()) }

// last reads a push's events to the end.
func (s *served) last(t *testing.T, id string) (*api.Outcome, error) {
	t.Helper()
	for e, err := range s.PushEvents(t.Context(), id, 1) {
		if err != nil || e.Outcome != nil {
			return e.Outcome, err
		}
	}
	t.Fatal("no end")
	return nil, nil
}

// pushed is a push of an image that has ended well.
func (s *served) pushed(t *testing.T, app cloud.AppName, d api.PushRequest) *api.Outcome {
	t.Helper()
	if d.Source == nil && !d.Archive {
		d.Image = "web:1"
	}
	p, err := s.Push(t.Context(), ref(app), d)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.last(t, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ref(app cloud.AppName) cloud.AppRef { return cloud.AppRef{Group: cloud.DefaultGroup, App: app} }

// wantCode fails unless err has the code and its text has all of the words.
func wantCode(t *testing.T, err error, code cloud.Code, words ...string) {
	t.Helper()
	if cloud.CodeOf(err) != code {
		t.Errorf("got %v (%s), want %s", err, cloud.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !contains(err.Error()+" hint: "+cloud.HintOf(err), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
