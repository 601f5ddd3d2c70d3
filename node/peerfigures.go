package node

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/figures"
)

// peerFigures asks the other nodes for what their routers have counted. It implements figures.Peers and figures.Others.
type peerFigures struct{ *Node }

const (
	// askFigures is how long another node may take to answer a question about its figures.
	askFigures = 2 * time.Second
	// handOverTimeout is how long the other nodes may take to ask for the last counts of a router that ends.
	handOverTimeout = 2 * time.Second
)

func (p peerFigures) Living() []cloud.NodeName { return p.otherNodes() }

func (p peerFigures) Ask(ctx context.Context, node cloud.NodeName, after figures.Cursor) (figures.Handover, error) {
	return callNode[figures.Handover](ctx, p.Node, node, http.MethodGet, "/peer/counts", url.Values{
		"process": {after.Process}, "version": {strconv.FormatUint(after.Version, 10)},
	})
}

func (p peerFigures) Requests(ctx context.Context, use func(figures.Requests)) {
	ctx, cancel := context.WithTimeout(ctx, askFigures)
	defer cancel()
	var asked sync.WaitGroup
	for _, node := range p.otherNodes() {
		asked.Go(func() {
			if r, err := callNode[figures.Requests](ctx, p.Node, node, http.MethodGet, "/peer/requests", nil); err == nil {
				use(r)
			}
		})
	}
	asked.Wait()
}

// Judgement returns the judgement of the node that leads. Without a leader nobody judges.
func (p peerFigures) Judgement(ctx context.Context, host cloud.Host, path string) (step *api.FadeStep, elsewhere bool) {
	m := p.member.Load()
	if m == nil || p.leads.Load() {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, askFigures)
	defer cancel()
	leader, err := m.presence.Leader(ctx)
	if err == nil && leader != "" && leader != p.cfg.Name {
		step, err = callNode[*api.FadeStep](ctx, p.Node, leader, http.MethodGet, "/peer/judgement", url.Values{"host": {string(host)}, "path": {path}})
	}
	if err != nil {
		p.log.Warn("the node that leads does not say how it judges a cross-fade", "host", string(host), "err", err)
	}
	return step, true
}

// serveFigures answers the other nodes.
func (n *Node) serveFigures(mux *http.ServeMux) {
	mux.HandleFunc("GET /peer/counts", func(w http.ResponseWriter, r *http.Request) {
		version, err := strconv.ParseUint(r.FormValue("version"), 10, 64)
		answerPeer(w, n.totals.Offer(figures.Cursor{Process: r.FormValue("process"), Version: version}), err)
	})
	mux.HandleFunc("GET /peer/requests", func(w http.ResponseWriter, _ *http.Request) {
		answerPeer(w, n.figures.OwnRequests(), nil)
	})
	mux.HandleFunc("GET /peer/judgement", func(w http.ResponseWriter, r *http.Request) {
		answerPeer(w, n.figures.Judgement(cloud.Host(r.FormValue("host")), r.FormValue("path")), nil)
	})
	mux.HandleFunc("POST /peer/ended", func(w http.ResponseWriter, r *http.Request) {
		answerPeer(w, struct{}{}, n.totals.Hear(r.Context(), cloud.NodeName(r.FormValue("node"))))
	})
}

// handOver lets the other nodes ask for the last counts of this node's router, which has ended.
func (n *Node) handOver() {
	n.totals.Close()
	ctx, cancel := context.WithTimeout(context.Background(), handOverTimeout)
	defer cancel()
	n.everyNode(ctx, http.MethodPost, "/peer/ended", url.Values{"node": {string(n.cfg.Name)}})
}
