package api

import (
	"context"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
)

// ReleaseFigures are the requests that a release got, on all its addresses.
type ReleaseFigures struct {
	Group    cloud.GroupName `json:"group"`
	App      cloud.AppName   `json:"app"`
	Release  int             `json:"release"`
	Since    time.Time       `json:"since" doc:"When counting began: the start of the node that has counted longest"`
	Requests uint64          `json:"requests"`
	Errors   uint64          `json:"errors" doc:"Of the requests: answered with 5xx, or not properly"`
	InFlight int64           `json:"in_flight" doc:"Requests and upgraded connections that have not ended"`
	P50      float64         `json:"p50_ms" doc:"Milliseconds until the answer's head that 50 % did not exceed"`
	P95      float64         `json:"p95_ms"`
	P99      float64         `json:"p99_ms"`
	Minute   *LastMinute     `json:"last_minute,omitempty" doc:"Of all these: what came in the last minute"`
	// Missing is the same for all releases.
	Missing []MissingCounts `json:"uncounted,omitempty" doc:"Routers whose last counts are in no figure: nodes that were lost, or do not answer"`
}

// MissingCounts is a router whose last counts nobody knows.
type MissingCounts struct {
	Node  cloud.NodeName `json:"node"`
	After time.Time      `json:"after" doc:"What it counted after this time is missing"`
}

// LastMinute is what a release did in the last minute, or since the node started where that is less.
type LastMinute struct {
	Seconds  float64 `json:"seconds" doc:"How long it was: 45 to 60, and less after the node's start"`
	Requests uint64  `json:"requests"`
	Rate     float64 `json:"rate" doc:"Requests a second"`
	Errors   uint64  `json:"errors" doc:"Of the requests: answered with 5xx, or not properly"`
	P50      float64 `json:"p50_ms" doc:"Milliseconds until the answer's head that 50 % did not exceed"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// Figures lists the releases of a group that got requests; app is "" for those of all apps.
func (c *Client) Figures(ctx context.Context, g cloud.GroupName, app cloud.AppName) ([]ReleaseFigures, error) {
	return all[ReleaseFigures](ctx, c, groupPath(g, "figures"), url.Values(values{}.set("app", string(app))))
}
