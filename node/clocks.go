package node

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
)

// clocks compares this node's wall clock with those of the other nodes. Nodes write times for each other, such as when a
// roll-out began: a node with a wrong clock, or one that leads with it, would fail each push as too slow.
type clocks struct {
	mu    sync.Mutex
	ahead map[cloud.NodeName]time.Duration // how far the others' clocks are ahead of this one
	wrong atomic.Int64                     // how far this one is ahead of most, if it is wrong; else 0
}

// clockTolerance is how far the clocks of two nodes may differ without one of them being wrong.
const clockTolerance = time.Minute

// note notes the time in another node's answer.
func (c *clocks) note(node cloud.NodeName, answer *http.Response, now time.Time) {
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead == nil {
		c.ahead = map[cloud.NodeName]time.Duration{}
	}
	c.ahead[node] = date.Sub(now)
}

// of returns how far the clocks of some nodes are ahead, as far as that is known.
func (c *clocks) of(nodes []cloud.NodeName) (ahead []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		if d, ok := c.ahead[n]; ok {
			ahead = append(ahead, d)
		}
	}
	return ahead
}

// clockError returns how far this node's clock is ahead of those of most nodes, if it is wrong: if more than half of all nodes
// agree with each other, and not with it. others is how far the other nodes' clocks are ahead of it.
func clockError(others []time.Duration) (ahead time.Duration, wrong bool) {
	for _, d := range others {
		agree := 0
		for _, o := range others {
			if (o - d).Abs() <= clockTolerance {
				agree++
			}
		}
		if d.Abs() > clockTolerance && 2*agree > len(others)+1 {
			return -d, true
		}
	}
	return 0, false
}

// noteClock notes the time in another node's answer.
func (n *Node) noteClock(node cloud.NodeName, answer *http.Response) {
	n.clocks.note(node, answer, time.Now())
	ahead, wrong := clockError(n.clocks.of(n.otherNodes()))
	switch old := time.Duration(n.clocks.wrong.Load()); {
	case (ahead-old).Abs() <= clockTolerance && wrong == (old != 0):
		return
	case wrong:
		n.log.Warn("this node's clock differs from those of most nodes, by whose time it goes on: set it", "ahead", ahead.Round(time.Second).String())
	default:
		n.log.Info("this node's clock is right again")
	}
	n.clocks.wrong.Store(int64(ahead))
}

// now returns the time by the clocks of most nodes: by this one's, unless it is wrong.
func (n *Node) now() time.Time {
	t := time.Now()
	if ahead := time.Duration(n.clocks.wrong.Load()); ahead != 0 {
		t = t.Round(0).Add(-ahead) // without the monotonic clock, which was right
	}
	return t.UTC()
}
