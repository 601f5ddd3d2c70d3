package metrics

import (
	"io"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// Config has the sources of the metrics.
type Config struct {
	Version string
	Figures *router.Figures
	Router  interface{ Stats() router.Stats }
	Queries *Queries
	Views   interface{ View() cloud.View }
}

// Metrics gathers a node's metrics. It has its own registry, because libraries add metrics to the default one.
type Metrics struct{ registry *prometheus.Registry }

// New returns the metrics of a node.
func New(cfg Config) *Metrics {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "micro_build_info", Help: "The running version; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "go": runtime.Version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(
		build, httpCollector{cfg.Figures, cfg.Router}, dnsCollector{cfg.Queries}, instanceCollector{cfg.Views},
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector(),
	)
	return &Metrics{r}
}

// Write writes all metrics in Prometheus' text format, version 0.0.4.
func (m *Metrics) Write(w io.Writer) error {
	families, err := m.registry.Gather()
	if err != nil {
		return err
	}
	e := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// describe returns the description of a metric.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// counter and gauge return one value of a metric.
func counter(d *prometheus.Desc, value uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func gauge(d *prometheus.Desc, value int, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
}
