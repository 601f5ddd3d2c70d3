package figures

import (
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestKnownFigures(t *testing.T) {
	shop := cloud.AppRef{Group: "qa", App: "shop"}
	s := cloud.NewState().Apply(1, []cloud.Change{cloud.Put(&cloud.App{AppRef: shop}), cloud.Put(&cloud.Release{ReleaseRef: shop.Release(2)})})
	for _, c := range []struct {
		app, release string
		want         bool
	}{{"", "", true}, {"qa/shop", "", true}, {"qa/shop", "r2", true}, {"qa/shop", "r1", false}, {"shop", "r2", false}, {"shop", "", false}} {
		if got := known(s, c.app, c.release); got != c.want {
			t.Errorf("%s@%s: %v", c.app, c.release, got)
		}
	}
}
