package cloud

import (
	"cmp"
	"regexp"
	"strings"
)

// MetricGuard is a counter that an app exports for Prometheus. A cross-fade to a release that names it compares how much it
// grows per request.
type MetricGuard struct {
	Metric string `json:"metric"` // the sum over all of its labels
	// Less and More are how much smaller or larger the new release's growth per request may be: 0.05 is a twentieth. One
	// of them is set.
	Less float64 `json:"less,omitempty"`
	More float64 `json:"more,omitempty"`
	Path string  `json:"path,omitempty"` // of the endpoint; "" is /metrics
	Port int     `json:"port,omitempty"` // 0 is the port of the process web
}

// mostGuards bounds the metrics that are read of each instance.
const mostGuards = 10

var metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$`)

// Validate reports what is wrong with a guard.
func (g MetricGuard) Validate() error {
	const hint = "for example {metric: orders_total, less: 5%}"
	switch {
	case !metricName.MatchString(g.Metric):
		return Errorf(Invalid, "%q is not the name of a metric", g.Metric).WithHint("%s", hint)
	case !(g.Less >= 0 && g.Less < 1) || !(g.More >= 0 && g.More <= 10):
		return Errorf(Invalid, "guard %s: less must be below 100 %%, more at most 1000 %%", g.Metric).WithHint("%s", hint)
	case (g.Less > 0) == (g.More > 0):
		return Errorf(Invalid, "guard %s needs less or more, one of them", g.Metric).WithHint("%s", hint)
	case g.Path != "" && !strings.HasPrefix(g.Path, "/") || len(g.Path) > 1000 || strings.ContainsFunc(g.Path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }):
		return Errorf(Invalid, "guard %s: path %q does not begin with / or has invalid characters", g.Metric, g.Path)
	case g.Port < 0 || g.Port > 65535:
		return Errorf(Invalid, "guard %s: port %d is not between 1 and 65535", g.Metric, g.Port)
	}
	return nil
}

// Endpoint returns the path where the metric is read.
func (g MetricGuard) Endpoint() string { return cmp.Or(g.Path, "/metrics") }

func validateGuards(all []MetricGuard) error {
	if len(all) > mostGuards {
		return Errorf(Invalid, "%d guards: an app may have %d", len(all), mostGuards)
	}
	seen := map[string]bool{}
	for _, g := range all {
		if err := g.Validate(); err != nil {
			return err
		}
		if seen[g.Metric] {
			return Errorf(Invalid, "guard %s is given twice", g.Metric)
		}
		seen[g.Metric] = true
	}
	return nil
}
