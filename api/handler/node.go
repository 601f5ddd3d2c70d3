package handler

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
)

type nothing struct{}

func (h *Handler) serveNode() {
	get(h, operation("version", "GET /v1/version", "Say what runs"),
		func(context.Context, *nothing) (api.Version, error) { return h.Version, nil })
	get(h, operation("node", "GET /v1/node", "Show the node, also before it is ready"),
		func(context.Context, *nothing) (api.Node, error) { return h.Node.Info(), nil })
	get(h, operation("doctor", "GET /v1/doctor", "Check the node and its surroundings"),
		func(ctx context.Context, _ *nothing) (api.List[api.Check], error) {
			return whole(h.Node.Doctor(ctx)), nil
		})
	get(h, operation("disk", "GET /v1/disk", "Say what takes room on the node's disk"),
		func(ctx context.Context, _ *nothing) (api.Disk, error) { return h.Node.Disk(ctx) })
	serve(h, operation("metrics", "GET /metrics", "What is counted, for Prometheus"),
		func(context.Context, *nothing) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				hc.SetHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
				if err := h.Node.Metrics(hc.BodyWriter()); err != nil {
					panic(http.ErrAbortHandler) // the client must not take a part for the whole
				}
			}}, nil
		})
	get(h, operation("prune", "POST /v1/prune", "Remove what nothing needs"),
		func(ctx context.Context, _ *nothing) (api.Pruned, error) {
			if err := h.builds.sweep(h.Store.State()); err != nil {
				return api.Pruned{}, err
			}
			if err := h.source.clear(); err != nil {
				return api.Pruned{}, err
			}
			return h.Node.Prune(ctx)
		})
	get(h, operation("down", "POST /v1/down", "Take the node off its machine: its apps end, its data stays"),
		func(context.Context, *nothing) (nothing, error) {
			h.Node.Down()
			return nothing{}, nil
		})
}
