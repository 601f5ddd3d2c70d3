// Package scrape reads counters that apps export in Prometheus' text format. It reads them for cross-fades only, so it
// returns nothing but the sums of the metrics that a guard names.
package scrape
