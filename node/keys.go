package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/certs"
	"github.com/protoduction/micro/store/seal"
)

// cloudKey lets the API show the key to the cloud's secrets, and replace it.
type cloudKey struct{ *Node }

// Keys are the public keys of what this node opens secrets with, the one that seals first.
func (k cloudKey) Keys() api.CloudKeys {
	all := k.keys.PublicKeys()
	return api.CloudKeys{Key: all[0], Older: all[1:], File: k.keys.Path()}
}

// maxKey bounds a key on its way to another node.
const maxKey = 4 << 10

// Rotate seals every secret with a new key. At any moment every node has all keys that any secret is sealed with, so that
// this may break off anywhere and be begun again.
func (k cloudKey) Rotate(ctx context.Context, by cloud.Actor) (api.CloudKeys, error) {
	var none api.CloudKeys
	view := k.snapshots.View()
	for node := range view.State.Nodes() {
		if status, ok := view.Instances.NodeStatus(node.Name); node.Name != k.cfg.Name && ok && !status.Alive {
			return none, cloud.Errorf(cloud.Unavailable, "node %s does not answer, and would lack the new key", node.Name).WithCommand("micro node list")
		}
	}
	text, err := seal.NewKey()
	if err != nil {
		return none, err
	}
	public, err := k.keys.Add(text)
	if err != nil {
		return none, err
	}
	for _, step := range []func() error{
		func() error { return k.others(ctx, "/peer/key", nil, text) },
		func() error { return k.keys.Promote(public) },
		func() error { return k.others(ctx, "/peer/key/promote", url.Values{"key": {public}}, nil) },
		func() error { return k.reseal(ctx, by) },
		func() error { return k.keys.Retain(k.needsKey) },
		func() error { return k.others(ctx, "/peer/key/retain", nil, nil) },
	} {
		if err := step(); err != nil {
			return none, cloud.Errorf(cloud.CodeOf(err), "the key was not rotated to the end; all secrets can be opened as before: %w", err).WithCommand("micro key rotate")
		}
	}
	return k.Keys(), nil
}

// reseal seals every secret again, with the first key.
func (k cloudKey) reseal(ctx context.Context, by cloud.Actor) error {
	if err := k.store.ResealDataKey(ctx, k.keys); err != nil {
		return err
	}
	if err := k.vault.Reseal(ctx, certs.Temporary); err != nil {
		return err
	}
	_, err := k.store.Update(ctx, by, "rotate-key", "cloud", func(s *cloud.State) ([]cloud.Change, error) {
		return s.Reseal(func(place string, old cloud.Sealed) (cloud.Sealed, error) {
			secret, err := k.keys.Open(place, old)
			if err != nil {
				return "", err
			}
			return k.keys.Seal(place, secret)
		})
	})
	return err
}

// needsKey reports whether a backup is encrypted for a key.
func (n *Node) needsKey(public string) bool {
	for b := range n.store.State().AllBackups("") {
		if b.For == public {
			return true
		}
	}
	return false
}

// others has every other node take a step. All of them must.
func (k cloudKey) others(ctx context.Context, path string, query url.Values, body any) error {
	var errs []error
	for _, node := range k.otherNodes() {
		resp, err := k.askNode(ctx, node, http.MethodPost, path, query, body)
		if err == nil {
			resp.Body.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// servePeerKeys takes the steps of a rotation that another node carries out.
func (n *Node) servePeerKeys(mux *http.ServeMux) {
	mux.HandleFunc("POST /peer/key", func(w http.ResponseWriter, r *http.Request) {
		var text string
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxKey)).Decode(&text)
		if err != nil {
			err = cloud.Errorf(cloud.Invalid, "the new key cannot be read")
		} else {
			_, err = n.keys.Add(text)
		}
		answerPeer(w, struct{}{}, err)
	})
	mux.HandleFunc("POST /peer/key/promote", func(w http.ResponseWriter, r *http.Request) {
		answerPeer(w, struct{}{}, n.keys.Promote(r.FormValue("key")))
	})
	mux.HandleFunc("POST /peer/key/retain", func(w http.ResponseWriter, _ *http.Request) {
		answerPeer(w, struct{}{}, n.keys.Retain(n.needsKey))
	})
}
