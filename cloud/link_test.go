package cloud

import (
	"fmt"
	"testing"
	"time"
)

func TestShare(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	y.do(y.s.FinishRollout(shop, noon, ann), nil)
	y.push(shop, PushSpec{}, true)
	y.do(y.s.MarkUp(shop.Release(2)), nil)
	day := noon.Add(24 * time.Hour)
	y.do(y.s.Share(shop.Release(2), "", "one", day, ann))
	l, err := y.s.Link(DefaultGroup, "one")
	if err != nil || l.Host != "shop-20261122-r2.micro.test" || !y.s.Opens(l) || l.By != "ann" {
		t.Fatalf("%+v, %v", l, err)
	}
	y.do(y.s.Share(shop.Release(0), "", "current", day, ann))
	if l, _ := y.s.Link(DefaultGroup, "current"); l.Host != "shop.micro.test" {
		t.Errorf("a link to what is current is at %s", l.Host)
	}
	refuse := func(r ReleaseRef, host Host, until time.Time, code Code, part string) {
		t.Helper()
		changes, err := y.s.Share(r, host, "two", until, ann)
		y.refuses(changes, err, code, part)
	}
	refuse(shop.Release(9), "", day, NotFound, "no release r9")
	refuse(shop.Release(2), "", noon, Invalid, "at most 30 days")
	refuse(shop.Release(2), "", noon.Add(MaxLinkLife+1), Invalid, "at most 30 days")
	refuse(shop.Release(2), "www.example.com", day, Conflict, "www.example.com is not a public host of group default")
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	refuse(shop.Release(2), "www.example.com", day, Conflict, "is not a public host")
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, Public: true}, ann))
	y.do(y.s.Share(shop.Release(2), "www.example.com", "www", day, ann))
	y.do(y.s.Stop(shop.Release(2), false))
	refuse(shop.Release(2), "", day, Conflict, "does not run")
	// Another group finds none of it.
	changes, err := y.s.Unshare("qa", "one")
	y.refuses(changes, err, NotFound, `no link "one"`)
	y.do(y.s.Unshare(DefaultGroup, "one"))
	// What has expired goes with the next one, and what is left goes with its app.
	y.do(y.s.Share(shop.Release(1), "", "late", day.Add(48*time.Hour), Stamp{At: day.Add(time.Hour), By: "ann"}))
	if n := countLinks(y.s); n != 1 {
		t.Errorf("%d links are kept", n)
	}
	y.do(y.s.Delete(shop.Release(0)))
	if n := countLinks(y.s); n != 0 {
		t.Errorf("%d links are kept of an app that is gone", n)
	}
}

func countLinks(s *State) (n int) {
	for range s.Links() {
		n++
	}
	return n
}

// A link makes a host public that was not: it counts. Links are bounded in number.
func TestLinksCountForTheQuota(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	y.do(y.s.FinishRollout(shop, noon, ann), nil)
	y.do(y.s.SetQuota(Quota{Group: DefaultGroup, PublicHosts: 1}))
	share := func(r ReleaseRef, id string) error {
		changes, err := y.s.Share(r, "", LinkID(id), noon.Add(time.Hour), ann)
		if err == nil {
			err = y.s.CheckQuota(changes)
		}
		if err == nil {
			y.do(changes, nil)
		}
		return err
	}
	if err := share(shop.Release(1), "a"); err != nil {
		t.Fatal(err)
	}
	if err := share(shop.Release(1), "b"); err != nil {
		t.Errorf("a second link at the same host: %v", err)
	}
	if err := share(shop.Release(0), "c"); CodeOf(err) != Conflict {
		t.Errorf("a second host: %v", err)
	}
	y.do(y.s.SetQuota(Quota{Group: DefaultGroup}))
	for i := range maxLinks - 2 {
		if err := share(shop.Release(1), fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := share(shop.Release(1), "z"); CodeOf(err) != Conflict {
		t.Errorf("too many: %v", err)
	}
}
