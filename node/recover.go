package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/store/etcdkv"
	"github.com/protoduction/micro/store/kv"
)

// Recover makes this node the whole cloud, with what its own copy of the store has. It is for when a majority of the
// voters is lost for good: what only they had is lost too.
func (c clusterControl) Recover(ctx context.Context, by cloud.Actor) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	m := c.member.Load()
	switch {
	case m == nil:
		return cloud.Errorf(cloud.Conflict, "this node is the whole cloud: there is nothing to recover")
	case m.Store != nil:
		return cannotRecover(m.Store)
	case c.majorityAnswers(ctx, m):
		return cloud.Errorf(cloud.Conflict, "a majority of the voters answers: there is nothing to recover").WithHint("to remove a node that is lost: micro node remove NODE --lost")
	}
	m.mu.Lock()
	etcd := m.etcd
	m.mu.Unlock()
	if etcd == nil {
		return cloud.Errorf(cloud.Conflict, "node %s has no copy of the store", m.Node).WithHint("recover on a node that has one: micro node list shows which")
	}
	pairs, err := etcdkv.ReadOwn(ctx, etcd.Client())
	if err != nil {
		return err
	}
	if err := c.store.Move(ctx, func() error { return c.beginAnew(ctx, m, pairs) }); err != nil {
		return err
	}
	return c.forgetOthers(ctx, m, by)
}

// cannotRecover returns the error where no node has a copy of the store.
func cannotRecover(x *cloud.ExternalStore) error {
	return cloud.Errorf(cloud.Conflict, "the store is in etcd at %s, which micro does not run: no node has a copy to recover the cloud from", x).
		WithHint("bring that etcd back; if its data are lost: stop micro on all nodes, restore a snapshot (etcdutl snapshot restore), and start micro again")
}

// majorityAnswers reports whether the store can be read. If not, it waits until this node has lost its lease too: the
// store also stands still for a moment when the voters change.
func (n *Node) majorityAnswers(ctx context.Context, m *member) bool {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, statusTimeout)
		_, err := m.presence.Leader(asking)
		cancel()
		if err == nil {
			return true
		}
		if term, _ := m.presence.Current(); term == nil {
			return false
		}
	}
	return true // nobody waits for the answer
}

// recoverAtStart does the same for a node that could not start without the others.
func (n *Node) recoverAtStart(ctx context.Context, m *member) error {
	if m.etcd == nil {
		return cloud.Errorf(cloud.Conflict, "node %s has no copy of the store", m.Node).WithHint("recover on a node that has one")
	}
	reading, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if m.etcd.Ready(reading) == nil {
		return cloud.Errorf(cloud.Conflict, "a majority of the voters answers: there is nothing to recover").WithHint("leave out --recover")
	}
	pairs, err := etcdkv.ReadOwn(ctx, m.etcd.Client())
	if err != nil {
		return err
	}
	return n.beginAnew(ctx, m, pairs)
}

// beginAnew starts another etcd, of which this node is the only member, and gives it the pairs. From when the membership
// is saved, that one counts; the data of the old one stay where they are.
func (n *Node) beginAnew(ctx context.Context, m *member, pairs []kv.Pair) error {
	if err := skipRevisions(pairs); err != nil {
		return err
	}
	next := m.Membership
	next.Cloud = rand.Text()
	next.Data = "etcd-" + strings.ToLower(rand.Text()[:6])
	next.Peers = []cluster.Peer{{Name: m.Node, Addr: m.Addr, Voter: true}}
	etcd, err := cluster.StartEtcd(cluster.EtcdConfig{Folder: n.folder, Member: next, New: true, Port: n.port, Log: n.log})
	if err != nil {
		return err
	}
	if err := etcd.Ready(ctx); err != nil {
		etcd.Close()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err = n.kv.Replace(func(kv.Engine) (kv.Engine, error) {
		engine, err := newEngine(ctx, m, etcd)
		if err != nil {
			return nil, err
		}
		err = kv.Fill(ctx, pairs, engine, func(key string) bool {
			return strings.HasPrefix(key, "seen/") || strings.HasPrefix(key, "lead/") || strings.HasPrefix(key, "vault/locks/") // under leases, which end here
		})
		if err == nil {
			err = n.folder.SaveMembership(next)
		}
		if err != nil {
			_ = engine.Close() // there is another error to report
			return nil, err
		}
		if m.engine != nil {
			_ = m.engine.Close() // its transactions have no outcome any more
		}
		m.engine = engine
		return engine, nil
	})
	if err != nil {
		etcd.Close()
		return err
	}
	if m.remote != nil {
		m.remote.Close()
		m.remote = nil
	}
	old := m.etcd
	m.etcd, m.Membership = etcd, next
	old.Close()
	n.log.Warn("this node is the whole cloud now, with what its copy of the store had; the old copy is kept", "keys", len(pairs))
	return nil
}

// skippedRevisions is how many revisions this node may have seen that its copy of the store does not have.
const skippedRevisions = 1000

// skipRevisions raises the state's revision, which must never be one that this node has already seen with other content.
func skipRevisions(pairs []kv.Pair) error {
	for k, p := range pairs {
		if p.Key != headKey {
			continue
		}
		head := map[string]json.RawMessage{}
		var rev uint64
		err := json.Unmarshal(p.Value, &head)
		if err == nil {
			err = json.Unmarshal(head["rev"], &rev)
		}
		if err == nil {
			head["rev"], err = json.Marshal(rev + skippedRevisions)
		}
		if err == nil {
			pairs[k].Value, err = json.Marshal(head)
		}
		if err != nil {
			return cloud.Errorf(cloud.Internal, "the store's revision cannot be read: %w", err)
		}
	}
	return nil
}

// headKey has the state's revision.
const headKey = "cloud/rev"

// forgetOthers removes all other nodes from the state.
func (n *Node) forgetOthers(ctx context.Context, m *member, by cloud.Actor) error {
	_, err := n.store.Update(ctx, by, "recover cluster", "node "+string(m.Node), func(s *cloud.State) ([]cloud.Change, error) {
		return s.RecoverOn(m.Node, m.Cloud), nil
	})
	return err
}
