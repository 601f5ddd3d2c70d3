// Package metrics exports a node's counts to Prometheus.
//
// Its collectors read the parts' own counts when Prometheus asks, so that metrics cost nothing per request or query.
// docs/operations.md lists the names, which don't change.
package metrics
