package cloud

import (
	"reflect"
	"testing"
)

// TestShipped: a release that is pushed elsewhere as it is shipped is the same there.
func TestShipped(t *testing.T) {
	surge := 0
	for name, d := range map[string]PushSpec{
		"defaults": {},
		"all": {
			Processes: map[ProcessName]ProcessSpec{
				Web: {
					Command: new("serve"), Instances: new(3), Memory: new(int64(1 << 28)), CPU: new(int64(500)), Disk: new(int64(1 << 30)), Port: new(5000),
					Startup: new(Duration(9e9)), StopGrace: new(Duration(3e9)), Protocol: new(ProtocolHTTP2), Init: new(false),
					Liveness: &Check{Type: CheckHTTP, Path: "/up", Interval: 5e9, Timeout: 2e9}, Readiness: &Check{Type: CheckHTTP, Path: "/ready"},
				},
				"worker": {Instances: new(2)}, ReleaseCommand: {Command: new("migrate")},
			},
			Strategy: &Strategy{Kind: Cutover, Batch: 2, Surge: &surge}, Overlap: new(false), Labels: map[string]string{"team": "a"},
			Annotations: map[string]string{"contact": "b"},
		},
		"without web": {NoWeb: true, Processes: map[ProcessName]ProcessSpec{"worker": {Instances: new(2)}}},
		"volumes":     withVolume(),
	} {
		b := Built{Image: Image{Digest: "sha256:1"}, Ports: []int{9000}}
		spec, formation, err := d.Resolve(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &Release{Spec: spec, Formation: formation}
		there, scale, err := r.Shipped().Resolve(Built{Image: b.Image}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(there, spec) || !reflect.DeepEqual(scale, formation) {
			t.Errorf("%s: here\n%+v\n%+v\nthere\n%+v\n%+v", name, spec, formation, there, scale)
		}
		// Where the app is already, its formation stays.
		parent := &Release{Spec: spec, Formation: Formation{}}
		for process := range formation {
			parent.Formation[process] = Scale{Instances: 1, Memory: 1 << 29}
		}
		if _, scale, err = r.Shipped().Unscaled().Resolve(Built{Image: b.Image}, parent); err != nil || !reflect.DeepEqual(scale, parent.Formation) {
			t.Errorf("%s: %v, its formation is %+v", name, err, scale)
		}
	}
}
