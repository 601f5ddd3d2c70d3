package handler

import (
	"context"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Routers are those of all nodes.
type Routers interface {
	// Everywhere returns when all living nodes' routers have a revision.
	Everywhere(ctx context.Context, rev cloud.Revision)
	// Parked returns what became of the requests during a hold of a host, once none of them waits any more.
	Parked(ctx context.Context, h cloud.Host, id string) api.ParkedRequests
}

func (h *Handler) serveHostHolds() {
	get(h, operation("hold", "POST /v1/groups/{group}/routes/hold", "Hold new requests of a host for a while; returns when the routers of all nodes do"),
		func(ctx context.Context, in *hostInput[api.HostHold]) (api.HostHeld, error) {
			n, at, until := 0, h.stamp(ctx), time.Time{}
			host, err := h.ownHost(ctx, in.Group, in.Body.Host)
			if err != nil {
				return api.HostHeld{}, err
			}
			changed, err := h.update(ctx, "hold", string(host), &n, func(s *cloud.State) ([]cloud.Change, error) {
				if err := owned(s, in.Group, host); err != nil {
					return nil, err
				}
				if v, ok := s.VirtualHost(host); ok && v.Hold.Lasts(at.At) && v.Hold.ID == in.Body.ID {
					until = v.Hold.Until // the caller asks again, because it has lost the answer
					return nil, nil
				}
				until = at.At.Add(time.Duration(in.Body.Max))
				return s.HoldHost(host, in.Body.ID, time.Duration(in.Body.Max), at)
			})
			if err != nil {
				return api.HostHeld{}, err
			}
			h.Routers.Everywhere(ctx, changed.Revision)
			return api.HostHeld{Until: until}, nil
		})
	get(h, operation("end-hold", "POST /v1/groups/{group}/routes/end-hold", "Let the held requests of a host go on, in their order"),
		func(ctx context.Context, in *hostInput[api.EndingHold]) (api.ParkedRequests, error) {
			n := 0
			host, err := h.ownHost(ctx, in.Group, in.Body.Host)
			if err != nil {
				return api.ParkedRequests{}, err
			}
			changed, err := h.update(ctx, "end-hold", string(host), &n, func(s *cloud.State) ([]cloud.Change, error) {
				if err := owned(s, in.Group, host); err != nil {
					return nil, err
				}
				return s.EndHostHold(host, in.Body.ID), nil
			})
			if err != nil {
				return api.ParkedRequests{}, err
			}
			h.Routers.Everywhere(ctx, changed.Revision)
			return h.Routers.Parked(ctx, host, in.Body.ID), nil
		})
}

// ownHost reads the name of a host of a group.
func (h *Handler) ownHost(ctx context.Context, g cloud.GroupName, text string) (cloud.Host, error) {
	host, _, err := readRoute(text, "")
	if err != nil {
		return "", err
	}
	return host, owned(h.view(ctx).State, g, host)
}
