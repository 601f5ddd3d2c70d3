package cloud

import (
	"strings"
	"testing"
)

// In a group that wants approvals no way leads an unapproved release to the public.
func TestApprovals(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	const host = "www.example.com"
	y.do(y.s.Map(Map{Host: host, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.s.RequireApproval(DefaultGroup, true))
	checked := func(changes []Change, err error) ([]Change, error) {
		if err == nil {
			err = y.s.CheckApproval(changes)
		}
		if err != nil {
			return nil, err
		}
		return changes, nil
	}
	refuse := func(part string, changes []Change, err error) {
		t.Helper()
		changes, err = checked(changes, err)
		if changes != nil || CodeOf(err) != Conflict || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v (%s), want %s", err, CodeOf(err), part)
		}
	}
	public := func() ([]Change, error) {
		return y.s.Map(Map{Host: host, Path: "/", Public: true, Target: Target{ReleaseRef: shop.Release(0)}}, ann)
	}
	changes, err := public()
	refuse("release shop@r1 is not approved", changes, err)
	bob := Stamp{At: noon, By: "bob"}
	note := func(n int, by Stamp, approved bool, text string) ([]Change, error) {
		return y.s.AddNote(shop.Release(n), Note{At: by.At, By: by.By, Approved: approved, Text: text})
	}
	if _, err := note(1, ann, true, ""); CodeOf(err) != Denied {
		t.Errorf("who made a release approves it: %v", err)
	}
	if _, err := note(1, bob, false, ""); CodeOf(err) != Invalid {
		t.Errorf("rejected without a reason: %v", err)
	}
	y.do(note(1, bob, true, ""))
	y.do(note(1, bob, false, "the basket loses items"))
	changes, err = public()
	refuse("is not approved", changes, err)
	y.do(note(1, bob, true, ""))
	y.do(checked(public()))
	// From here on the public follows the app.
	_, _, err = y.s.Push(Push{App: shop, Built: Built{Image: Image{Digest: "sha256:1"}}}, ann)
	refuse("this one is new", nil, err)
	changes, err = y.s.Promote(shop.Release(2), false, ann)
	refuse("release shop@r2 is not approved", changes, err)
	changes, err = y.s.BeginCrossfade(host, "/", shop.Release(2), nil, DefaultFade(), false, ann)
	refuse("release shop@r2 is not approved", changes, err)
	changes, err = y.s.Traffic(host, "/", map[ReleaseRef]int{shop.Release(2): 1})
	refuse("release shop@r2 is not approved", changes, err)
	y.do(y.s.Map(Map{Host: "in.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
	changes, err = y.s.Swap(host, "in.example.com", true)
	refuse("release shop@r2 is not approved", changes, err)
	y.do(note(2, bob, true, ""))
	y.do(checked(y.s.Promote(shop.Release(2), false, ann)))
	y.finishRollout(shop)
	// The way back is open, whatever was said since.
	y.do(note(1, bob, false, "old"))
	changes, ref, err := y.s.Rollback(shop, 0, ann)
	if y.do(checked(changes, err)); ref.N != 1 {
		t.Errorf("rolled back to %s", ref)
	}
	y.staged(shop, PushSpec{})
	y.do(y.s.RequireApproval(DefaultGroup, false))
	y.do(checked(y.s.Traffic(host, "/", map[ReleaseRef]int{shop.Release(3): 1})))
}

// A manifest may expose an app too.
func TestApprovalOfManifestRoutes(t *testing.T) {
	y := begin(t)
	y.do(y.s.RequireApproval(DefaultGroup, true))
	spec := PushSpec{Routes: []RouteSpec{{Host: "www.example.com", Path: "/", Public: true}}}
	if err := y.s.CheckPush(shop, spec, false); CodeOf(err) != Conflict {
		t.Errorf("a public route of a manifest: %v", err)
	}
	y.do(y.s.RequireApproval(DefaultGroup, false))
	y.staged(shop, spec)
	y.do(y.s.RequireApproval(DefaultGroup, true))
	changes, err := y.s.Promote(shop.Release(1), false, ann)
	if err == nil {
		err = y.s.CheckApproval(changes)
	}
	if CodeOf(err) != Conflict || !strings.Contains(err.Error(), "shop@r1 is not approved") {
		t.Errorf("promoted: %v", err)
	}
}

func TestLock(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.s.LockApp(shop, "freeze until Monday", ann))
	const locked = "app shop is locked by ann: freeze until Monday"
	_, _, err := y.s.Push(Push{App: shop, Built: Built{Image: Image{Digest: "sha256:1"}}}, ann)
	y.refuses(nil, err, Conflict, locked)
	changes, err := y.s.Promote(shop.Release(3), false, ann)
	y.refuses(changes, err, Conflict, locked)
	changes, err = y.s.BeginCrossfade("www.example.com", "/", shop.Release(3), nil, DefaultFade(), false, ann)
	y.refuses(changes, err, Conflict, locked)
	changes, err = y.s.Delete(shop.Release(0))
	y.refuses(changes, err, Conflict, locked)
	changes, err = y.s.LockApp(shop, "mine", Stamp{By: "bob"})
	y.refuses(changes, err, Conflict, locked)
	changes, _, err = y.s.Rollback(shop, 0, ann)
	y.do(changes, err)
	y.do(y.s.UnlockApp(shop))
	y.push(shop, PushSpec{}, true)
	// Nothing is left for an app of the same name.
	y.do(y.s.AddNote(shop.Release(1), Note{By: "bob", Approved: true}))
	y.do(y.s.Delete(shop.Release(0)))
	if y.s.Approved(shop.Release(1)) {
		t.Error("a release that is gone is approved")
	}
}

// In a group that wants approvals only an approved release gets to a production service, and stays approved there.
func TestApprovalOfProductionServices(t *testing.T) {
	y := bound(t)
	prod, _ := y.s.App(AppRef{DefaultGroup, "proddb"})
	marked, service := *prod, *prod.Service
	service.Production = true
	marked.Service = &service
	y.do([]Change{Put(&marked)}, nil)
	y.do(y.s.Map(Map{Host: www, Path: "/", Public: true, Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.s.RequireApproval(DefaultGroup, true))
	rebind := BindingChange{Rebind: map[AppName]AppName{"testdb": "proddb"}}
	refuse := func(part string, changes []Change, err error) {
		t.Helper()
		if err == nil {
			err = y.s.CheckApproval(changes)
		}
		if CodeOf(err) != Conflict || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v (%s), want %s", err, CodeOf(err), part)
		}
	}
	try := func(part string, r ReleaseRef, c BindingChange) {
		t.Helper()
		changes, _, err := y.s.ChangeBindings(r, c, "rebind", ann)
		refuse(part, changes, err)
	}
	y.staged(shop, PushSpec{})
	try("release shop@r1 is not approved", shop.Release(0), rebind)
	try("release shop@r2 is not approved", shop.Release(2), rebind)
	try("release shop@r2 is not approved", shop.Release(2), BindingChange{Bind: []Binding{{Service: "proddb", Name: "other"}}})
	for _, stage := range []bool{true, false} {
		_, _, err := y.s.Push(Push{App: shop, Stage: stage, Spec: PushSpec{Rebind: rebind.Rebind}, Built: Built{Image: Image{Digest: "sha256:1"}}}, ann)
		refuse("this one is new", nil, err)
	}
	changes, _, err := y.s.RebindCrossfade(www, "/", shop.Release(2), rebind.Rebind, []int{20, 100}, DefaultFade(), false, ann)
	refuse("release shop@r2 is not approved", changes, err)

	bob := Note{At: noon, By: "bob", Approved: true}
	y.do(y.s.AddNote(shop.Release(2), bob))
	changes, made, err := y.s.ChangeBindings(shop.Release(2), rebind, "rebind", ann)
	if err == nil {
		err = y.s.CheckApproval(changes)
	}
	y.do(changes, err)
	if !y.s.Approved(made) {
		t.Errorf("%s is not approved, though only its services changed", made)
	}
	y.staged(shop, PushSpec{})
	y.do(y.s.AddNote(shop.Release(4), bob))
	changes, _, err = y.s.RebindCrossfade(www, "/", shop.Release(4), rebind.Rebind, []int{20, 100}, DefaultFade(), false, ann)
	if err == nil {
		err = y.s.CheckApproval(changes)
	}
	y.do(changes, err)
}
