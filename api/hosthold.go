package api

import (
	"context"
	"net/http"
	"time"

	"github.com/protoduction/micro/cloud"
)

// HostHold asks for new requests of a host to be held.
type HostHold struct {
	Host string `json:"host" minLength:"1" maxLength:"254"`
	// ID is the caller's, so that asking twice holds once.
	ID  string         `json:"id" minLength:"1" maxLength:"64" doc:"Any text of the caller's; the same ends the hold"`
	Max cloud.Duration `json:"max" doc:"How long the requests are held at most, whatever becomes of the caller: up to 5m"`
}

// HostHeld is a hold of a host.
type HostHeld struct {
	Until time.Time `json:"until" doc:"When it ends by itself"`
}

// EndingHold lets the held requests of a host go on.
type EndingHold struct {
	Host string `json:"host" minLength:"1" maxLength:"254"`
	ID   string `json:"id" minLength:"1" maxLength:"64"`
}

// ParkedRequests are what became of the requests that came while a host was held, at all nodes.
type ParkedRequests struct {
	Waited  int64          `json:"waited" doc:"Requests that waited"`
	Late    int64          `json:"late" doc:"Of these, those that got 503 because the time was over"`
	Refused int64          `json:"refused" doc:"Requests that got 503 at once, because as many were waiting as the router holds"`
	Longest cloud.Duration `json:"longest_wait"`
}

// HoldHost has the routers hold new requests of a host. It returns when all of them do.
func (c *Client) HoldHost(ctx context.Context, g cloud.GroupName, h HostHold) (HostHeld, error) {
	return call[HostHeld](ctx, c, http.MethodPost, groupPath(g, "routes/hold"), nil, h)
}

// EndHostHold lets the held requests of a host go on, and returns what became of them.
func (c *Client) EndHostHold(ctx context.Context, g cloud.GroupName, e EndingHold) (ParkedRequests, error) {
	return call[ParkedRequests](ctx, c, http.MethodPost, groupPath(g, "routes/end-hold"), nil, e)
}
