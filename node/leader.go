package node

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/events"
	"github.com/protoduction/micro/node/figures"
	"github.com/protoduction/micro/node/scrape"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/traffic"
)

// notes stores the leader's notes: in the cloud's store if there are other nodes, which may lead next, and else in the
// node's own part of the file, where they cost no revision.
type notes struct{ *Node }

const (
	notesPrefix = "notes/" // in the cloud's store
	notesTime   = 5 * time.Second
)

func (n notes) Load(prefix string) (map[string][]byte, error) {
	if n.member.Load() == nil {
		pairs, err := n.db.Local().List(prefix)
		return valuesOf(pairs, ""), err
	}
	ctx, cancel := context.WithTimeout(context.Background(), notesTime)
	defer cancel()
	pairs, _, err := n.kv.List(ctx, notesPrefix+prefix)
	return valuesOf(pairs, notesPrefix), err
}

func valuesOf(pairs []kv.Pair, prefix string) map[string][]byte {
	values := make(map[string][]byte, len(pairs))
	for _, p := range pairs {
		values[strings.TrimPrefix(p.Key, prefix)] = p.Value
	}
	return values
}

func (n notes) Save(values map[string][]byte) error {
	if n.member.Load() == nil {
		pairs := make([]kv.Pair, 0, len(values))
		for key, value := range values {
			pairs = append(pairs, kv.Pair{Key: key, Value: value})
		}
		return n.db.Local().Put(pairs...)
	}
	var t kv.Txn
	for key, value := range values {
		t.Put = append(t.Put, kv.Put{Key: notesPrefix + key, Value: value})
	}
	return n.commitNotes(t)
}

func (n notes) Forget(keys ...string) error {
	if n.member.Load() == nil {
		return n.db.Local().Delete(keys...)
	}
	var t kv.Txn
	for _, key := range keys {
		t.Del = append(t.Del, notesPrefix+key)
	}
	return n.commitNotes(t)
}

func (n notes) commitNotes(t kv.Txn) error {
	ctx, cancel := context.WithTimeout(context.Background(), notesTime)
	defer cancel()
	_, err := n.kv.Commit(ctx, t)
	return err
}

// copyNotes copies the leader's notes from the node's own part of its file into the cloud's store.
func copyNotes(ctx context.Context, from kv.Local, to kv.Engine) error {
	pairs, err := from.List("")
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(pairs, kv.DefaultOps) {
		var t kv.Txn
		for _, p := range chunk {
			if !strings.HasPrefix(p.Key, crashesPrefix) { // which are the node's own
				t.Put = append(t.Put, kv.Put{Key: notesPrefix + p.Key, Value: p.Value})
			}
		}
		if len(t.Put) > 0 {
			if _, err := to.Commit(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// jobs lets the leader run jobs on this node, or on the one that has the release's volumes.
type jobs struct{ *Node }

func (j jobs) RunJob(ctx context.Context, r cloud.ReleaseRef, job cloud.Job) (cloud.Exit, error) {
	if node, ok := j.volumesElsewhere(r); ok {
		resp, err := j.askNode(ctx, node, http.MethodPost, "/peer/job", nil, peerJob{r, job})
		if err != nil {
			return cloud.Exit{}, err
		}
		defer resp.Body.Close()
		var exit cloud.Exit
		return exit, json.NewDecoder(resp.Body).Decode(&exit)
	}
	return j.runHere(ctx, r, job)
}

// peerJob is a job that another node is to run.
type peerJob struct {
	Release cloud.ReleaseRef
	Job     cloud.Job
}

// servePeerJob runs a job for the node that leads. It ends with the request.
func (n *Node) servePeerJob(w http.ResponseWriter, r *http.Request) {
	var p peerJob
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, api.MaxBody)).Decode(&p); err != nil {
		answerPeer(w, nil, cloud.Errorf(cloud.Invalid, "the job of another node cannot be read: %w", err))
		return
	}
	exit, err := jobs{n}.runHere(r.Context(), p.Release, p.Job)
	answerPeer(w, exit, err)
}

func (j jobs) runHere(ctx context.Context, r cloud.ReleaseRef, job cloud.Job) (cloud.Exit, error) {
	exit, err := j.agent.RunJob(ctx, r, job)
	return cloud.Exit{Code: exit.Code, OOM: exit.OOM, At: exit.At}, err
}

// counts gives the leader the request counts of all routers.
type counts struct{ totals *figures.Totals }

func (c counts) Sample(host cloud.Host, path string, r cloud.ReleaseRef) traffic.Sample {
	return sample(c.totals.Recent(router.Place{Host: string(host), Path: path})[r].Judged)
}

func (c counts) Requests(r cloud.ReleaseRef) uint64 {
	return c.totals.Recent(router.Place{})[r].Total.Requests
}

// sample converts the router's counts to the input of a verdict. Requests whose client gave up count as neither
// answered nor failed. But the time until then counts as latency, or a release that hangs would look good.
func sample(c router.Counts) traffic.Sample {
	bounds, counts := c.Latency.Merge(c.Given).Buckets()
	return traffic.Sample{Requests: c.Requests - min(c.Gone, c.Requests), Errors: c.Errors, Classes: c.Classes, Started: c.Started, Ended: c.Ended, Sizes: c.Sizes, Bounds: bounds, Counts: counts, Clients: byClient(c.Clients)}
}

func byClient(c router.ClientCounts) traffic.Clients {
	_, first := c.First.Buckets()
	return traffic.Clients{Known: c.Known, Failed: c.Failed, Other: c.Other, Moved: c.Moved, Requests: c.Requests, Busiest: c.Busiest, First: first}
}

// usage tells the leader what instances use.
type usage struct{ commands }

func (u usage) Usage(ctx context.Context, id cloud.InstanceID) (leader.Usage, error) {
	s, err := u.Stats(ctx, id)
	return leader.Usage{CPU: s.CPU, Memory: s.Memory, Limit: s.MemoryLimit, ErrorLines: s.ErrorLines}, err
}

func (usage) Metrics(ctx context.Context, i *cloud.Instance, guards []cloud.MetricGuard) map[string]float64 {
	return scrape.Metrics(ctx, i.Addr, guards)
}

// eventNotes adds events of the leader to the node's events.
type eventNotes struct{ events *events.Buffer }

func (n eventNotes) Note(e leader.Event) {
	n.events.Add(api.Event{Time: time.Now().UTC(), Group: e.Group, App: e.App, Release: e.Release, Kind: e.Kind, Object: e.Object, Text: e.Text})
}
