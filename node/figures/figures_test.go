package figures

import (
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestKnownFigures(t *testing.T) {
	shop, other := cloud.AppRef{Group: "qa", App: "shop"}, cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	s := cloud.NewState().Apply(1, []cloud.Change{cloud.Put(&cloud.App{AppRef: shop}), cloud.Put(&cloud.Release{ReleaseRef: shop.Release(2)})})
	for _, c := range []struct {
		release cloud.ReleaseRef
		want    bool
	}{{cloud.ReleaseRef{}, true}, {shop.Release(0), true}, {shop.Release(2), true}, {shop.Release(1), false}, {other.Release(2), false}, {other.Release(0), false}} {
		if got := exists(s, c.release); got != c.want {
			t.Errorf("%s: %v", c.release, got)
		}
	}
}
