package node

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/store/kv"
)

const (
	// countersPrefix is followed by a node's name, in the cloud's store.
	countersPrefix = "counters/"
	// countEvery is how often a running node raises its counter: a copy of its disk that is older than that is recognised.
	countEvery   = time.Minute
	countRetry   = 2 * time.Second
	countTimeout = 10 * time.Second
	// recordTimeout is how long a start waits for what another node knows of this one, before it asks again.
	recordTimeout = 3 * time.Second
)

// counters are this node's counter and those of the others, as they are on its disk.
type counters struct {
	mu sync.Mutex
	cluster.Counters
}

// checkDisk asks the other nodes what they know of this one, before its etcd starts. It returns an error if the node is not
// one of its cloud any more, and gives up its copy of the store if that is older than what the others have seen of it: an
// etcd that has forgotten its votes and what it acknowledged could lose changes.
func (n *Node) checkDisk(ctx context.Context, m *member) (err error) {
	if n.counters.Counters, err = n.folder.Counters(); err != nil {
		return err
	}
	known, current := uint64(0), false
	records, err := n.records(ctx, m)
	if err != nil {
		return err
	}
	for name, r := range records {
		if r.Current && !r.Member {
			return cloud.Errorf(cloud.Denied, "node %s is not in its cloud any more, says node %s: it was removed, or the cloud was recovered without it", m.Node, name).
				WithHint("micro down, empty %s, and join anew: micro up --join TOKEN, with a token of micro cluster token", n.cfg.Data)
		}
		known, current = max(known, r.Counter), current || r.Current
	}
	if known <= n.counters.Own {
		return nil
	}
	_, has := n.folder.Etcd(m.Membership)
	switch {
	case has && n.cfg.Recover:
		n.log.Warn("the cloud is recovered from an old copy of this node's disk: other nodes have seen a newer one")
	case has && !current:
		return cloud.Errorf(cloud.Conflict, "the data of node %s are an old copy: other nodes have seen newer ones, and no majority of the voters answers without it", m.Node).
			WithHint("start the other voters; where they are lost for good, recover the cloud on a node with a newer copy: micro cluster recover --lost-all-others")
	default:
		n.log.Warn("the data of this node are an old copy: its copy of the store is made anew from the others", "counter", n.counters.Own, "seen", known)
		if err := n.folder.RemoveEtcd(m.Membership); err != nil {
			return err
		}
	}
	n.counters.Own = known
	return n.folder.SaveCounters(n.counters.Counters)
}

// records returns what the other nodes know of this one. It asks until one answers that reaches a majority of the voters,
// or until this node and those that have answered are a majority: no fewer can elect a leader. A node that is to recover
// the cloud, or has no vote, asks each of them once.
func (n *Node) records(ctx context.Context, m *member) (map[cloud.NodeName]cluster.Record, error) {
	all := map[cloud.NodeName]cluster.Record{}
	for {
		current := n.askRecords(ctx, m, all)
		voters, answered := 0, 0
		for _, p := range m.Peers {
			if p.Voter {
				voters++
				if _, ok := all[p.Name]; ok || p.Name == m.Node {
					answered++
				}
			}
		}
		_, has := n.folder.Etcd(m.Membership)
		switch {
		case current || !has || n.cfg.Recover || 2*answered > voters || voters == 0:
			return all, nil
		case ctx.Err() != nil:
			return nil, cluster.NoMajority(ctx.Err())
		}
		sleep(ctx, countRetry/4)
	}
}

// askRecords asks the other nodes that are not among those that have answered, and reports whether one of them reaches a
// majority of the voters.
func (n *Node) askRecords(ctx context.Context, m *member, answered map[cloud.NodeName]cluster.Record) bool {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	type answer struct {
		from   cloud.NodeName
		record cluster.Record
		err    error
	}
	answers, asked := make(chan answer, len(m.Peers)), 0
	for _, p := range m.Peers {
		if _, ok := answered[p.Name]; ok || p.Name == m.Node || p.Worker {
			continue
		}
		asked++
		go func() {
			r, err := m.dialer.AskRecord(ctx, p.Name)
			answers <- answer{p.Name, r, err}
		}()
	}
	for range asked {
		a := <-answers // which come in time, as ctx ends
		if a.err != nil {
			n.log.Debug("another node does not say what it knows of this one", "node", string(a.from), "err", a.err)
			continue
		}
		if answered[a.from] = a.record; a.record.Current {
			return true
		}
	}
	return false
}

// recordOf returns what this node knows of another one.
func (n *Node) recordOf(ctx context.Context, m *member, name cloud.NodeName, key string) cluster.Record {
	r := cluster.Record{}
	if term, _ := m.presence.Current(); term != nil {
		ctx, cancel := context.WithTimeout(ctx, recordTimeout)
		defer cancel()
		r.Current = m.presence.CatchUp(ctx) == nil
	}
	r.Member = n.knows(name, key)
	n.counters.mu.Lock()
	defer n.counters.mu.Unlock()
	r.Counter = n.counters.Of(name, key)
	return r
}

// keepCounters raises this node's counter, and remembers those of the others, until ctx ends.
func (n *Node) keepCounters(ctx context.Context, m *member) error {
	go n.learnCounters(ctx, m)
	key, err := cluster.KeyHash(m.identity.Public())
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		value, err := n.count()
		for err == nil && ctx.Err() == nil {
			if err := n.tellCounter(ctx, m, cluster.Counter{Key: key, Value: value}); err == nil {
				break
			}
			sleep(ctx, countRetry)
		}
		if err != nil {
			n.log.Warn("cannot write this node's counter: an old copy of its disk may not be recognised", "err", err)
		}
		sleep(ctx, countEvery)
	}
	return nil
}

// count raises the counter on this node's disk.
func (n *Node) count() (uint64, error) {
	n.counters.mu.Lock()
	defer n.counters.mu.Unlock()
	n.counters.Own++
	return n.counters.Own, n.folder.SaveCounters(n.counters.Counters)
}

func (n *Node) tellCounter(ctx context.Context, m *member, c cluster.Counter) error {
	value, err := json.Marshal(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	_, err = n.kv.Commit(ctx, kv.Txn{Put: []kv.Put{{Key: countersPrefix + string(m.Node), Value: value}}})
	return err
}

// learnCounters remembers the other nodes' counters on this node's disk.
func (n *Node) learnCounters(ctx context.Context, m *member) {
	for ctx.Err() == nil {
		pairs, rev, err := n.kv.List(ctx, countersPrefix)
		if err == nil {
			for _, p := range pairs {
				n.noteCounter(m, p.Key, p.Value)
			}
			for batch, err := range n.kv.Watch(ctx, countersPrefix, rev) {
				if err != nil {
					break // read again
				}
				for _, c := range batch.Changes {
					n.noteCounter(m, c.Key, c.Value)
				}
			}
		}
		sleep(ctx, countRetry)
	}
}

func (n *Node) noteCounter(m *member, key string, value []byte) {
	name := cloud.NodeName(strings.TrimPrefix(key, countersPrefix))
	var seen cluster.Counter
	if name == m.Node || value == nil || json.Unmarshal(value, &seen) != nil {
		return
	}
	n.counters.mu.Lock()
	defer n.counters.mu.Unlock()
	next, isNew := n.counters.Note(name, seen)
	if !isNew {
		return
	}
	n.counters.Counters = next
	if err := n.folder.SaveCounters(next); err != nil {
		n.log.Warn("cannot write what this node has seen of others", "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
