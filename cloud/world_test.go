package cloud

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	shop = AppRef{DefaultGroup, "shop"}
	blog = AppRef{DefaultGroup, "blog"}
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ann  = Stamp{At: noon, By: "ann"}
)

// story is a state that verbs are told to, one after the other.
type story struct {
	*testing.T
	s *State
}

func begin(t *testing.T) *story {
	s := NewState()
	s = s.Apply(1, s.Init(ann))
	s = s.Apply(2, []Change{Put(&Group{Name: "qa", Created: noon, Number: 1}), Put(&Settings{Domain: "micro.test"})})
	return &story{t, s}
}

// do applies what a verb returned.
func (y *story) do(changes []Change, err error) *story {
	y.Helper()
	if err != nil {
		y.Fatal(err)
	}
	y.s = y.s.Apply(y.s.Rev()+1, changes)
	return y
}

// refuses says that a verb must refuse, with a code, a part of the message and a hint that can be typed.
func (y *story) refuses(changes []Change, err error, code Code, part string) {
	y.Helper()
	if err == nil {
		y.Errorf("not refused: %s", part)
		return
	}
	if CodeOf(err) != code || !strings.Contains(err.Error(), part) {
		y.Errorf("refused with %s: %v; want %s: %s", CodeOf(err), err, code, part)
	}
	if changes != nil {
		y.Errorf("refused with changes: %v", err)
	}
	if hint := HintOf(err); !strings.HasPrefix(hint, "micro ") {
		y.Errorf("%v: hint %q is no command", err, hint)
	}
}

func (y *story) push(app AppRef, d PushSpec, stage bool) *Release {
	y.Helper()
	changes, ref, err := y.s.Push(Push{App: app, Spec: d, Built: Built{Image: Image{Digest: "sha256:1", Name: "one"}}, Stage: stage}, ann)
	y.do(changes, err)
	return y.release(app, ref.N)
}

// pushed is a push that came up.
func (y *story) pushed(app AppRef, d PushSpec) *Release {
	y.Helper()
	rel := y.push(app, d, false)
	y.finishRollout(app)
	return y.release(app, rel.N)
}

func (y *story) finishRollout(app AppRef) {
	y.Helper()
	y.do(y.s.FinishRollout(app, noon.Add(10*time.Minute), ann), nil)
}

// staged is a staged push that came up.
func (y *story) staged(app AppRef, d PushSpec) *Release {
	y.Helper()
	rel := y.push(app, d, true)
	y.do(y.s.MarkUp(rel.ReleaseRef), nil)
	return y.release(app, rel.N)
}

func (y *story) app(r AppRef) *App {
	y.Helper()
	app, ok := y.s.App(r)
	if !ok {
		y.Fatalf("no app %s", r)
	}
	return app
}

func (y *story) release(r AppRef, n int) *Release {
	y.Helper()
	rel, ok := y.s.Release(r.Release(n))
	if !ok {
		y.Fatalf("no release r%d of %s", n, r)
	}
	return rel
}

// phases says where the app's releases stand: "r1 warm, r2 current".
func (y *story) phases(r AppRef, want string) {
	y.Helper()
	var all []string
	for rel := range y.s.Releases(r) {
		ref := rel.ReleaseRef.String()
		all = append(all, ref[strings.Index(ref, "@")+1:]+" "+string(y.s.PhaseOf(rel)))
	}
	if got := strings.Join(all, ", "); got != want {
		y.Errorf("%s: %s; want %s", r, got, want)
	}
}

// route says where a path leads: "shop 95, shop@r2 5".
func (y *story) route(h Host, path, want string) {
	y.Helper()
	got := "unknown"
	if vhost, ok := y.s.VirtualHost(h); ok {
		got = "nowhere"
		if r, ok := vhost.Route(path); ok {
			var all []string
			for _, t := range r.Targets {
				text := t.ReleaseRef.String()
				if t.Weighted {
					b, _ := json.Marshal(t.Weight)
					text += " " + string(b)
				}
				all = append(all, text)
			}
			got = strings.Join(all, ", ")
		}
	}
	if got != want {
		y.Errorf("%s%s leads to %q, want %q", h, path, got, want)
	}
}

func instances(n int) PushSpec {
	return PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Instances: &n}}}
}

func withVolume() PushSpec { return PushSpec{Volumes: []Volume{{Name: "data", Path: "/data"}}} }

func dump(s *State) string {
	var lines []string
	for k, o := range s.Objects() {
		b, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		lines = append(lines, string(k)+" "+string(b))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
