package volumes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var (
	shop    = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	errDead = errors.New("killed")
	root    = cloud.Actor{Name: "root", Role: cloud.RoleAdmin}
)

// world is a cloud of two nodes, n1 and n2, whose process is killed at a step. Everything that changes something outlives it.
type world struct {
	*cloud.Cell
	state   *cloud.State
	nodes   map[cloud.NodeName]Folders
	backups map[cloud.BackupID][]byte
	mu      sync.Mutex // guards steps and dead: an archive is written and read at the same time
	steps   int
	killAt  int  // the number of the step; -1 for never
	after   bool // the step is done, and its answer lost
	lost    bool // only the step fails, and the process lives on
	dead    bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Cell: cloud.NewCell(), nodes: map[cloud.NodeName]Folders{}, backups: map[cloud.BackupID][]byte{}, killAt: -1}
	at := cloud.Stamp{At: time.Now(), By: "test"}
	settings := cloud.Settings{Domain: "micro.test"}
	w.state = cloud.NewState()
	do := func(changes []cloud.Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w.apply(changes)
	}
	do(append(w.state.Init(at), cloud.Put(&settings)), nil)
	do(w.state.Create(shop, at))
	changes, _, err := w.state.Push(cloud.Push{App: shop, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1111", Name: "one"}}, Spec: cloud.PushSpec{
		Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {}}, Volumes: []cloud.Volume{{Name: "data", Path: "/data"}, {Name: "more", Path: "/more"}},
	}}, at)
	do(changes, err)
	do(w.state.FinishRollout(shop, at.At, at), nil)
	do([]cloud.Change{cloud.Put(&cloud.Home{AppRef: shop, Node: "n1"})}, nil)
	for _, n := range []cloud.NodeName{"n1", "n2"} {
		do([]cloud.Change{cloud.Put(&cloud.Node{Name: n})}, nil)
		w.nodes[n] = Folders{Dir: t.TempDir()}
	}
	for _, name := range []string{"data", "more"} {
		write(t, filepath.Join(w.nodes["n1"].Dir, "default/shop", name, "file"), "old")
	}
	return w
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) apply(changes []cloud.Change) {
	w.state = w.state.Apply(w.state.Rev()+1, changes)
	w.SetState(w.state)
}

// step does something that a kill may come before or after.
func (w *world) step(do func() error) error {
	n, dead := w.next()
	if dead || n == w.killAt && !w.after {
		return w.kill()
	}
	err := do()
	if n == w.killAt {
		return w.kill()
	}
	return err
}

func (w *world) next() (n int, dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps++
	return w.steps - 1, w.dead
}

func (w *world) kill() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = !w.lost
	return errDead
}

func (w *world) State() *cloud.State { return w.state }

func (w *world) Update(ctx context.Context, _ cloud.Actor, _, _ string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := w.step(func() error {
		changes, err := fn(w.state)
		if err == nil {
			w.apply(changes)
		}
		return err
	})
	return w.state, err
}

func (w *world) Write(ctx context.Context, node cloud.NodeName, app cloud.AppRef, volume string, out io.Writer) error {
	return w.step(func() error { return w.nodes[node].Write(ctx, out, app, volume) })
}

func (w *world) Receive(ctx context.Context, node cloud.NodeName, _ cloud.Revision, work *cloud.VolumeWork, volume string, r io.Reader) error {
	return w.step(func() error { return w.nodes[node].Receive(ctx, r, work, volume) })
}

func (w *world) Exchange(_ context.Context, node cloud.NodeName, _ cloud.Revision, work *cloud.VolumeWork) error {
	return w.step(func() error { return w.nodes[node].Exchange(work) })
}

func (w *world) Retire(_ context.Context, node cloud.NodeName, work *cloud.VolumeWork) error {
	return w.step(func() error { return w.nodes[node].Retire(work.AppRef) })
}

func (w *world) Used(ctx context.Context, node cloud.NodeName, app cloud.AppRef, names []string) (map[string]int64, error) {
	return w.nodes[node].Used(ctx, app, names)
}

// archives keeps backups in memory.
type archives struct{ *world }

func (a archives) Write(_ context.Context, b *cloud.Backup, fill func(io.Writer) error) error {
	var out bytes.Buffer
	err := fill(&out)
	a.backups[b.ID] = out.Bytes()
	return err
}

func (a archives) Read(_ context.Context, b *cloud.Backup, use func(io.Reader) error) error {
	return use(bytes.NewReader(a.backups[b.ID]))
}

func (a archives) Remove(context.Context, *cloud.Backup) error { return nil }

func (a archives) Find(context.Context, string, cloud.AppRef) ([]*cloud.Backup, error) {
	return nil, nil
}

func (w *world) provider(process string) *Provider {
	return &Provider{
		Store: w, Views: w, Archives: archives{w}, Nodes: w, Folders: w.nodes["n1"], Node: "n1", Process: process,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
}

// restart is the start of another process, which finds what the killed one has left.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.dead, w.killAt = false, -1
	p := w.provider("second")
	if err := p.takeBackOwn(t.Context(), w.state); err != nil {
		t.Fatal(err)
	}
	for _, f := range w.nodes {
		if err := f.ClearWorks(p.underWay); err != nil {
			t.Fatal(err)
		}
	}
}

// check says what the volumes of shop have, where the state says that they are.
func (w *world) check(t *testing.T) string {
	t.Helper()
	if _, ok := w.state.VolumeWork(shop); ok {
		t.Error("the app is still halted")
	}
	home, _ := w.state.Home(shop)
	said := string(home.Node)
	for _, name := range []string{"data", "more"} {
		text, err := os.ReadFile(filepath.Join(w.nodes[home.Node].Dir, "default/shop", name, "file"))
		if err != nil {
			t.Error(err)
		}
		said += " " + string(text)
	}
	for n, f := range w.nodes {
		if left, _ := filepath.Glob(filepath.Join(f.Dir, "*", workPrefix+"*")); len(left) > 0 {
			t.Errorf("left on %s: %v", n, left)
		}
	}
	return said
}

// eachStep calls do in a new world for each step that may be the last one: before and after it, with the process killed, and
// with the step failing alone. It returns how many it has tried.
func eachStep(t *testing.T, do func(t *testing.T, w *world)) (tried int) {
	for k := 0; ; k++ {
		steps := 0
		for _, c := range []struct{ after, lost bool }{{false, false}, {true, false}, {false, true}} {
			t.Run(fmt.Sprintf("step %d, done %t, lives on %t", k, c.after, c.lost), func(t *testing.T) {
				w := newWorld(t)
				w.killAt, w.after, w.lost = k, c.after, c.lost
				do(t, w)
				steps = max(steps, w.steps)
			})
			tried++
		}
		if k >= steps {
			return tried
		}
	}
}

func TestMoveIsWhollyBeforeOrAfter(t *testing.T) {
	before, after := 0, 0
	eachStep(t, func(t *testing.T, w *world) {
		_, err := w.provider("first").Move(t.Context(), root, shop, "n2", func(api.Progress) {})
		w.restart(t)
		switch said := w.check(t); said {
		case "n1 old old":
			if before++; err == nil {
				t.Error("it was said to have moved")
			}
		case "n2 old old":
			after++
		default:
			t.Error(said)
		}
		// What failed can be done again.
		if home, _ := w.state.Home(shop); home.Node == "n1" {
			if _, err := w.provider("second").Move(t.Context(), root, shop, "n2", func(api.Progress) {}); err != nil {
				t.Fatal(err)
			}
			w.restart(t)
			if said := w.check(t); said != "n2 old old" {
				t.Error(said)
			}
		}
	})
	if before < 10 || after < 2 {
		t.Errorf("%d were before, %d after", before, after)
	}
}

func TestRestoreIsWhollyBeforeOrAfter(t *testing.T) {
	before, after := 0, 0
	eachStep(t, func(t *testing.T, w *world) {
		killAt := w.killAt
		w.killAt = -1
		b, err := w.provider("first").Backup(t.Context(), root, shop, "data", "", func(api.Progress) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"data", "more"} {
			write(t, filepath.Join(w.nodes["n1"].Dir, "default/shop", name, "file"), "new")
		}
		w.killAt, w.steps = killAt, 0
		_, err = w.provider("first").Restore(t.Context(), root, shop, "data", b, func(api.Progress) {})
		w.restart(t)
		switch said := w.check(t); said {
		case "n1 new new":
			if before++; err == nil {
				t.Error("it was said to be restored")
			}
		case "n1 old new":
			if after++; err != nil && strings.Contains(err.Error(), "as it was") {
				t.Errorf("it was said to be as it was: %v", err)
			}
		default:
			t.Error(said)
		}
	})
	if before < 6 || after < 2 {
		t.Errorf("%d were before, %d after", before, after)
	}
}

// TestOnlyOneWork refuses a second work, and what cannot be, before anything is stopped.
func TestOnlyOneWork(t *testing.T) {
	w := newWorld(t)
	p := w.provider("first")
	work := &cloud.VolumeWork{AppRef: shop, ID: "x", Volume: "data", Node: "n1", Process: "first"}
	w.apply([]cloud.Change{cloud.Put(work)})
	for to, want := range map[cloud.NodeName]cloud.Code{"n2": cloud.Conflict, "n1": cloud.Conflict} {
		if _, err := p.Move(t.Context(), root, shop, to, func(api.Progress) {}); cloud.CodeOf(err) != want {
			t.Errorf("to %s: %v", to, err)
		}
	}
	w.apply([]cloud.Change{cloud.Delete(work), cloud.Put(&cloud.Node{Name: "n2", Drain: true})})
	for to, want := range map[cloud.NodeName]cloud.Code{"n2": cloud.Conflict, "n1": cloud.Conflict, "n3": cloud.NotFound} {
		if _, err := p.Move(t.Context(), root, shop, to, func(api.Progress) {}); cloud.CodeOf(err) != want {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if w.steps != 0 {
		t.Errorf("%d steps were done", w.steps)
	}
}
