package cloud

import (
	"fmt"
	"strings"
	"testing"
)

func TestShares(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.pushed(blog, PushSpec{})
	at := func(r ReleaseRef) Target { return Target{ReleaseRef: r} }
	weigh := func(r ReleaseRef, w int) Target { return Target{r, true, w} }
	for _, c := range []struct {
		targets []Target
		want    string
	}{
		{nil, ""},
		{[]Target{at(shop.Release(0))}, "shop@r1 100"},
		{[]Target{at(shop.Release(0)), at(shop.Release(2))}, "shop@r1, shop@r2"},
		{[]Target{weigh(shop.Release(0), 1), weigh(shop.Release(2), 1)}, "shop@r1 50, shop@r2 50"},
		{[]Target{weigh(shop.Release(1), 2), weigh(shop.Release(2), 1)}, "shop@r1 66.7, shop@r2 33.3"},
		{[]Target{weigh(shop.Release(1), 100), weigh(shop.Release(2), 0)}, "shop@r1 100, shop@r2 0"},
		{[]Target{at(shop.Release(0)), weigh(shop.Release(2), 10)}, "shop@r1, shop@r2 10"},
		{[]Target{at(AppRef{DefaultGroup, "new"}.Release(0)), weigh(blog.Release(0), 10)}, "blog@r1 10"},
	} {
		var all []string
		for _, s := range y.s.Shares(&Route{Path: "/", Targets: c.targets}) {
			text := s.ReleaseRef.String()
			if s.Percent != nil {
				text += fmt.Sprintf(" %.4g", float64(int(*s.Percent*10+.5))/10)
			}
			all = append(all, text)
		}
		if got := strings.Join(all, ", "); got != c.want {
			t.Errorf("%v: %s, want %s", c.targets, got, c.want)
		}
	}
}
