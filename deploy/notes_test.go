package deploy

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestNotes(t *testing.T) {
	for _, tt := range []struct {
		formation cloud.Formation
		kept      []cloud.Volume
		volumes   []string
		want      string
	}{
		{cloud.Formation{"web": {Instances: 1}}, nil, nil, ""},
		{cloud.Formation{"web": {Instances: 1}, "worker": {}, "release": {}}, nil, nil, "process worker has 0 instances: micro scale shop worker=1"},
		{nil, nil, []string{"/var/lib/postgresql/data"}, "x-micro: {volumes: [{name: data, path: /var/lib/postgresql/data}]}"},
		{nil, nil, []string{"/data", "/var/Cache_1"}, "{name: data, path: /data}|{name: data2, path: /var/Cache_1}"},
		{nil, []cloud.Volume{{Name: "d", Path: "/data"}, {Name: "e", Path: "/srv"}}, []string{"/data/", "/srv/x", "/srvx"}, "{name: data3, path: /srvx}"},
	} {
		rel := &cloud.Release{ReleaseRef: cloud.AppRef{Group: "default", App: "shop"}.Release(1), Formation: tt.formation, Spec: cloud.Spec{Volumes: tt.kept}}
		got := notesOn(rel, tt.volumes)
		want := strings.Split(tt.want, "|")
		if tt.want == "" {
			want = nil
		}
		if len(got) != len(want) {
			t.Errorf("%q, want %q", got, want)
			continue
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%q, want %q", got[i], want[i])
			}
		}
	}
}
