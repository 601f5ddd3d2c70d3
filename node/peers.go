package node

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
)

// servePeers answers the other nodes: what only this node can say or do is below /peer/, and below /v1/ is the API, for
// callers that the other node has checked.
func (n *Node) servePeers() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /peer/drain", func(w http.ResponseWriter, r *http.Request) {
		answerPeer(w, struct{}{}, n.router.Drain(r.Context(), cloud.InstanceID(r.FormValue("instance"))))
	})
	mux.HandleFunc("GET /peer/revision", func(w http.ResponseWriter, r *http.Request) {
		rev, err := strconv.ParseUint(r.FormValue("at"), 10, 64)
		if err == nil && n.published.AtLeast(r.Context(), cloud.Revision(rev)).State.Rev() < cloud.Revision(rev) {
			err = r.Context().Err()
		}
		answerPeer(w, struct{}{}, err)
	})
	mux.HandleFunc("GET /peer/stats", func(w http.ResponseWriter, r *http.Request) {
		stats, err := n.stats(r.Context(), cloud.InstanceID(r.FormValue("instance")))
		answerPeer(w, stats, err)
	})
	mux.HandleFunc("GET /peer/profile", func(w http.ResponseWriter, r *http.Request) { answerPeer(w, n.ownProfile(r.Context()), nil) })
	mux.HandleFunc("POST /peer/logs", n.servePeerLogs)
	n.serveFigures(mux)
	n.servePeerKeys(mux)
	mux.HandleFunc("POST /peer/drop-volumes", n.servePeerVolumes)
	n.serveVolumes(mux)
	mux.HandleFunc("POST /peer/job", n.servePeerJob)
	mux.HandleFunc("GET /peer/parked", func(w http.ResponseWriter, r *http.Request) {
		answerPeer(w, n.parkedHere(r.Context(), cloud.Host(r.FormValue("host")), r.FormValue("id")), nil)
	})
	mux.HandleFunc("GET /peer/backup", n.servePeerBackup)
	mux.HandleFunc("DELETE /peer/backup", n.servePeerBackup)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		var by cloud.Actor
		if err := json.Unmarshal([]byte(r.Header.Get(actorHeader)), &by); err != nil {
			answerPeer(w, nil, cloud.Errorf(cloud.Invalid, "the request of another node does not say whose it is"))
			return
		}
		by.Role, by.Source = cloud.RoleAdmin, "node "+string(cluster.PeerOf(r.Context()))
		n.api.ServeHTTP(w, r.WithContext(handler.Forwarded(r.Context(), by)))
	})
	n.port.Handle(cluster.ProtoAPI, mux)
}

// actorHeader has who sent a request to the node that forwards it.
const actorHeader = "Micro-Actor"

func answerPeer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		api.WriteProblem(w, api.ProblemOf(err))
		return
	}
	_ = json.NewEncoder(w).Encode(v) // a node that is gone needs no answer
}

// otherNodes returns the living nodes besides this one.
func (n *Node) otherNodes() (others []cloud.NodeName) {
	if n.member.Load() == nil {
		return nil
	}
	v := n.snapshots.View()
	for node := range v.State.Nodes() {
		if status, ok := v.Instances.NodeStatus(node.Name); ok && status.Alive && node.Name != n.cfg.Name {
			others = append(others, node.Name)
		}
	}
	return others
}

// lives reports whether another node is not known to be dead.
func (n *Node) lives(name cloud.NodeName) bool {
	v := n.snapshots.View()
	_, known := v.State.Node(name)
	status, ok := v.Instances.NodeStatus(name)
	return known && (!ok || status.Alive)
}

// askNode sends a request to another node. The caller closes the answer's body.
func (n *Node) askNode(ctx context.Context, node cloud.NodeName, method, path string, query url.Values, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	return n.sendNode(ctx, node, method, path, query, content)
}

// sendNode is askNode with a body that is sent as it is.
func (n *Node) sendNode(ctx context.Context, node cloud.NodeName, method, path string, query url.Values, content io.Reader) (*http.Response, error) {
	m := n.member.Load()
	if m == nil {
		return nil, cloud.Errorf(cloud.NotFound, "no node %q in this cloud", node).WithCommand("micro node list")
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+string(node)+path+"?"+query.Encode(), content)
	if err != nil {
		return nil, err
	}
	resp, err := m.dialer.Client(cluster.ProtoAPI, node).Do(req)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "node %s does not answer: %w", node, err)
	}
	n.noteClock(node, resp)
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		return nil, api.ReadProblem(resp)
	}
	return resp, nil
}

// callNode sends a request to another node and decodes its answer.
func callNode[T any](ctx context.Context, n *Node, node cloud.NodeName, method, path string, query url.Values) (v T, err error) {
	resp, err := n.askNode(ctx, node, method, path, query, nil)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return v, cloud.Errorf(cloud.Unavailable, "the answer of node %s broke off: %w", node, err)
	}
	return v, nil
}

// apiOf returns a client of another node's API, in the name of by.
func (n *Node) apiOf(node cloud.NodeName, by cloud.Actor) (*api.Client, error) {
	m := n.member.Load()
	if m == nil {
		return nil, cloud.Errorf(cloud.NotFound, "no node %q in this cloud", node).WithCommand("micro node list")
	}
	actor, err := json.Marshal(by)
	if err != nil {
		return nil, err
	}
	inner := m.dialer.Client(cluster.ProtoAPI, node)
	return api.Over(&http.Client{Transport: asActor{inner.Transport, string(actor)}}, "node "+string(node)), nil
}

type asActor struct {
	http.RoundTripper
	actor string
}

func (a asActor) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(actorHeader, a.actor)
	return a.RoundTripper.RoundTrip(r)
}

const (
	peerRetry = 200 * time.Millisecond
	// everywhereTimeout is how long the other nodes' routers may take for a revision. A change is made by then.
	everywhereTimeout = 10 * time.Second
)

// everyNode asks all other living nodes at the same time, and returns when each has answered or is dead, or ctx ends.
func (n *Node) everyNode(ctx context.Context, method, path string, query url.Values) {
	var asked sync.WaitGroup
	for _, node := range n.otherNodes() {
		asked.Go(func() {
			for ctx.Err() == nil && n.lives(node) {
				if _, err := callNode[struct{}](ctx, n, node, method, path, query); err == nil {
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(peerRetry):
				}
			}
		})
	}
	asked.Wait()
}

// everywhere waits until the routers of all living nodes have a revision.
func (n *Node) everywhere(ctx context.Context, rev cloud.Revision) {
	ctx, cancel := context.WithTimeout(ctx, everywhereTimeout)
	defer cancel()
	n.everyNode(ctx, http.MethodGet, "/peer/revision", url.Values{"at": {strconv.FormatUint(uint64(rev), 10)}})
}
