package deploy

import (
	"testing"

	"github.com/protoduction/micro/cloud"
)

// Who waits for a release that never took over hears what came between.
func TestSuperseded(t *testing.T) {
	ref := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	for _, c := range []struct {
		app  cloud.App
		want string
	}{
		{cloud.App{Last: 4, Current: 1, Rollout: &cloud.Rollout{To: 4}}, "release shop@r3 was superseded by r4"},
		{cloud.App{Last: 4, Current: 4}, "release shop@r3 was superseded by r4"},
		{cloud.App{Last: 5, Current: 1}, "release shop@r3 was superseded by r5"},
		{cloud.App{Last: 3, Current: 1}, "release shop@r3 was abandoned: app shop was rolled back to r1"},
		{cloud.App{Last: 3, Current: 2, Rollout: &cloud.Rollout{To: 1}}, "release shop@r3 was superseded by r1"},
	} {
		c.app.AppRef = ref
		err := errOvertaken(&c.app, &cloud.Release{ReleaseRef: ref.Release(3)})
		if err.Error() != c.want || cloud.CodeOf(err) != cloud.Conflict {
			t.Errorf("last r%d, current r%d: %v, want %q", c.app.Last, c.app.Current, err, c.want)
		}
	}
}
