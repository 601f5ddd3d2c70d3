package node

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/router"
)

// exposition is Prometheus' text format, version 0.0.4. It is written by hand: a registry of client_golang
// is asked for far more than numbers that are counted elsewhere anyway, and shares its names with whatever
// libraries put into it.
type exposition struct{ b []byte }

// family begins a metric: what follows until the next one are its samples.
func (e *exposition) family(name, kind, help string) {
	e.b = append(e.b, "# HELP "+name+" "...)
	e.b = append(e.b, help...)
	e.b = append(e.b, "\n# TYPE "+name+" "...)
	e.b = append(e.b, kind...)
	e.b = append(e.b, '\n')
}

// sample writes a value; labels are names and values in turn.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.b = append(e.b, name...)
	for i := 0; i < len(labels); i += 2 {
		e.b = append(e.b, "{,"[min(i, 1)])
		e.b = append(e.b, labels[i]...)
		e.b = append(e.b, `="`...)
		e.b = append(e.b, escapeLabel.Replace(labels[i+1])...)
		e.b = append(e.b, '"')
	}
	if len(labels) > 0 {
		e.b = append(e.b, '}')
	}
	e.b = append(e.b, ' ')
	e.b = strconv.AppendFloat(e.b, value, 'g', -1, 64)
	e.b = append(e.b, '\n')
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// gauge and counter are metrics of one sample.
func (e *exposition) gauge(name, help string, value float64) {
	e.family(name, "gauge", help)
	e.sample(name, value)
}

func (e *exposition) counter(name, help string, value float64) {
	e.family(name, "counter", help)
	e.sample(name, value)
}

// latencyBounds are the buckets that the router's finer ones are summed up to.
var latencyBounds = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// histogram writes the samples of one histogram.
func (e *exposition) histogram(name string, s router.Snapshot, labels ...string) {
	bucket := append(slices.Clip(labels), "le", "")
	for _, bound := range latencyBounds {
		bucket[len(bucket)-1] = strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)
		e.sample(name+"_bucket", float64(s.Count-s.Over(bound)), bucket...)
	}
	bucket[len(bucket)-1] = "+Inf"
	e.sample(name+"_bucket", float64(s.Count), bucket...)
	e.sample(name+"_sum", s.Sum.Seconds(), labels...)
	e.sample(name+"_count", float64(s.Count), labels...)
}

func (e *exposition) writeTo(w io.Writer) error {
	_, err := w.Write(e.b)
	return err
}
