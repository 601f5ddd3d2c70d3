package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/protoduction/micro/cloud"
)

var instances = describe("micro_instances", "Instances by phase.", "app", "release", "phase")

// instanceCollector counts instances by phase.
type instanceCollector struct {
	views interface{ View() cloud.View }
}

// Describe implements prometheus.Collector.
func (instanceCollector) Describe(to chan<- *prometheus.Desc) { to <- instances }

// Collect implements prometheus.Collector. A release with instances has a value for every phase.
func (c instanceCollector) Collect(to chan<- prometheus.Metric) {
	count := map[cloud.ReleaseRef]map[cloud.InstancePhase]int{}
	for i := range c.views.View().Instances.All() {
		if count[i.ReleaseRef] == nil {
			count[i.ReleaseRef] = map[cloud.InstancePhase]int{}
		}
		count[i.ReleaseRef][i.Phase]++
	}
	for ref, phases := range count {
		for _, phase := range cloud.InstancePhases() {
			to <- gauge(instances, phases[phase], app(ref), release(ref), string(phase))
		}
	}
}
