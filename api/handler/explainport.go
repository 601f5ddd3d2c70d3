package handler

import (
	"context"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// probedPort returns the routed port that a text names: "tcp:5433", or "tcp://127.0.0.1:5433".
func probedPort(text string) (cloud.Host, bool) {
	if rest, ok := strings.CutPrefix(text, "tcp://"); ok {
		text = "tcp:" + rest[strings.LastIndexByte(rest, ':')+1:]
	}
	host, err := cloud.ParseRouteHost(text)
	return host, err == nil && host.Port() != 0
}

// explainPort says where a connection to a routed port would go, and what blocks it.
func (h *Handler) explainPort(ctx context.Context, host cloud.Host, from string) (api.Explanation, error) {
	if from == "" {
		from = "127.0.0.1"
	}
	w := &way{view: h.view(ctx), domain: h.Domain}
	w.Explanation = api.Explanation{URL: string(host), From: from, Hops: []api.Hop{}}
	w.Works = h.followPort(ctx, w, host)
	return w.Explanation, nil
}

func (h *Handler) followPort(ctx context.Context, w *way, host cloud.Host) bool {
	vhost, ok := w.view.State.VirtualHost(host)
	if ok && (!(route{vhost: vhost}).seenBy(h.sees(ctx)) || w.view.State.May(requestOf(ctx).actor, cloud.MayRead, cloud.Scope{Group: vhost.Group}) != nil) {
		ok = false
	}
	if !ok {
		return w.broken("host", "micro map APP "+string(host), "port %d is mapped to nothing", host.Port())
	}
	if fault := h.portFault(host); fault != nil {
		return w.broken("listener", "choose another port", "this node does not listen on the port: %v", fault)
	}
	w.ok("listener", "this node listens at %s", strings.Join(h.route(w.view, route{vhost: vhost}).Addresses, ", "))
	w.ok("host", "the port is %s, of group %s", vhost.Exposure, vhost.Group)
	if len(vhost.Routes) == 0 || len(vhost.Routes[0].Targets) == 0 {
		return w.broken("release", "micro map APP "+string(host), "nothing is mapped to it: connections end at once")
	}
	w.ok("release", "each connection goes to one release until its end")
	for _, t := range vhost.Routes[0].Targets {
		w.refs = append(w.refs, w.resolve(t.ReleaseRef)...)
		if t.Weighted {
			w.detail("%s has weight %d", t.ReleaseRef, t.Weight)
		} else {
			w.detail("%s", t.ReleaseRef)
		}
	}
	if len(w.refs) == 0 {
		return w.broken("instance", "micro apps", "no release of it runs: connections end at once")
	}
	return w.instance()
}
