// Package metrics shows what a node counts to Prometheus.
//
// Its collectors read figures that the parts keep anyway when somebody asks, so that no request and no query pays
// for a metric. docs/operations.md lists the names, which stay.
package metrics
