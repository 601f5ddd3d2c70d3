package cloud

import (
	"encoding/json"
	"testing"
)

// A list that is empty says that there is none, also after its way to the node; one that was not said is the parent's.
func TestEmptyListsDropWhatThereWas(t *testing.T) {
	had := PushSpec{
		Volumes: []Volume{{Name: "data", Path: "/data"}}, Place: map[string]string{"disk": "ssd"}, Guards: []MetricGuard{{Metric: "orders", Less: 0.05}},
	}
	parent := func() *Release {
		spec, formation, err := had.Resolve(Built{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &Release{Spec: spec, Formation: formation}
	}
	f := func(said string, volumes, place, guards int, strategy StrategyKind) {
		t.Helper()
		var d PushSpec
		if err := json.Unmarshal([]byte(said), &d); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(d)
		if err != nil || string(text) != said {
			t.Errorf("%s is sent as %s (%v)", said, text, err)
		}
		got, _, err := d.Resolve(Built{}, parent())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Volumes) != volumes || len(got.Place) != place || len(got.Guards) != guards || got.Strategy.Kind != strategy {
			t.Errorf("%s: %d volumes, %d labels, %d guards, %s", said, len(got.Volumes), len(got.Place), len(got.Guards), got.Strategy.Kind)
		}
	}
	f(`{}`, 1, 1, 1, Recreate)
	f(`{"volumes":[]}`, 0, 1, 1, Rolling)
	f(`{"volumes":[],"strategy":{"kind":"recreate"}}`, 0, 1, 1, Recreate)
	f(`{"place":{}}`, 1, 0, 1, Recreate)
	f(`{"guards":[]}`, 1, 1, 0, Recreate)
}
