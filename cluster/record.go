package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/protoduction/micro/cloud"
)

// Record is what one node knows of another, which asks for it before it starts its copy of the store.
type Record struct {
	// Member says that the asking node is one of the answering node's cloud.
	Member bool `json:"member"`
	// Current says that the answering node reaches a majority of the voters, so that all of this is so now.
	Current bool `json:"current"`
	// Counter is the highest value of the asking node's counter that the answering node has seen.
	Counter uint64 `json:"counter"`
}

// RecordHandler answers nodes that ask what this one knows of them, or to be forgotten. record and forget get the name and
// the KeyHash of the asking node, which has shown a certificate of the cloud's authority and may be one that was removed.
func RecordHandler(record func(ctx context.Context, name cloud.NodeName, key string) Record, forget func(ctx context.Context, name cloud.NodeName, key string) error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /forget", func(w http.ResponseWriter, r *http.Request) {
		if err := forget(r.Context(), PeerOf(r.Context()), keyOf(r.Context())); err != nil {
			writeRefusal(w, err)
		}
	})
	mux.HandleFunc("POST /record", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(record(r.Context(), PeerOf(r.Context()), keyOf(r.Context()))) // a node that is gone asks again
	})
	return mux
}

// AskRecord asks another node what it knows of this one. An older micro does not keep records: it knows nothing against
// the node.
func (d *Dialer) AskRecord(ctx context.Context, node cloud.NodeName) (r Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+string(node)+"/record", bytes.NewReader(nil))
	if err != nil {
		return r, err
	}
	resp, err := d.Client(ProtoRecord, node).Do(req)
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "remote error" { // an alert of TLS: it has no such protocol
		return Record{Member: true}, nil
	}
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return r, cloud.Errorf(cloud.Unavailable, "node %s answers with status %d", node, resp.StatusCode)
	}
	return r, json.NewDecoder(io.LimitReader(resp.Body, maxJoin)).Decode(&r)
}

// AskForget asks another node to remove this one from the cloud: its first start after it joined has failed.
func (d *Dialer) AskForget(ctx context.Context, node cloud.NodeName) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+string(node)+"/forget", bytes.NewReader(nil))
	if err != nil {
		return err
	}
	resp, err := d.Client(ProtoRecord, node).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return cloud.Errorf(cloud.Unavailable, "node %s answers with status %d", node, resp.StatusCode)
	}
	return nil
}
