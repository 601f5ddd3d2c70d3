package handler

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
)

// Status is how the node is.
type Status interface {
	// Info must be cheap: every request that needs a ready node asks for it.
	Info() api.Node
	Doctor(ctx context.Context) []api.Check
}

// Metrics are what the node counts.
type Metrics interface {
	// Write writes them in Prometheus' text format, version 0.0.4.
	Write(w io.Writer) error
}

// Profiles say what the cloud is made of.
type Profiles interface {
	// Profile asks all nodes. One that does not answer has an error in its place.
	Profile(ctx context.Context) (api.Profile, error)
}

// Disk is the node's disk.
type Disk interface {
	Disk(ctx context.Context) (api.Disk, error)
	// Prune removes what nothing needs.
	Prune(ctx context.Context) (api.Pruned, error)
}

type nothing struct{}

func (h *Handler) serveNode() {
	get(h, operation("version", "GET /v1/version", "Say what runs"),
		func(context.Context, *nothing) (api.Version, error) { return h.Version, nil })
	get(h, operation("node", "GET /v1/node", "Show the node, also before it is ready"),
		func(context.Context, *nothing) (api.Node, error) { return h.Status.Info(), nil })
	get(h, operation("doctor", "GET /v1/doctor", "Check the node and its surroundings"),
		func(ctx context.Context, _ *nothing) (api.List[api.Check], error) {
			return whole(h.Status.Doctor(ctx)), nil
		})
	get(h, operation("profile", "GET /v1/profile", "Say what the cloud is made of, for a comparison with another one"),
		func(ctx context.Context, _ *nothing) (api.Profile, error) { return h.Profiles.Profile(ctx) })
	get(h, operation("disk", "GET /v1/disk", "Say what takes room on the node's disk"),
		func(ctx context.Context, _ *nothing) (api.Disk, error) { return h.Disk.Disk(ctx) })
	serve(h, operation("metrics", "GET /metrics", "What is counted, for Prometheus"),
		func(context.Context, *nothing) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				hc.SetHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
				if err := h.Metrics.Write(hc.BodyWriter()); err != nil {
					panic(http.ErrAbortHandler) // the client must not take a part for the whole
				}
			}}, nil
		})
	get(h, operation("prune", "POST /v1/prune", "Remove what nothing needs"),
		func(ctx context.Context, _ *nothing) (api.Pruned, error) { return h.Disk.Prune(ctx) })
	get(h, operation("down", "POST /v1/down", "Take the node off its machine: its apps end, its data stays"),
		func(context.Context, *nothing) (nothing, error) {
			h.Down()
			return nothing{}, nil
		})
}
