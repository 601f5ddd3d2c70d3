package imagecopies

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// copies is how many nodes keep an image that runs, besides those that run it.
const copies = 2

// Holders returns the living nodes that keep a copy of an image: those with the highest hashes of node and image. So a
// node more or less changes the holders of few images.
func Holders(v cloud.View, digest string) []cloud.NodeName {
	nodes := living(v)
	slices.SortFunc(nodes, func(a, b cloud.NodeName) int {
		return cmp.Or(cmp.Compare(hash(b, digest), hash(a, digest)), cmp.Compare(a, b))
	})
	return nodes[:min(copies, len(nodes))]
}

// Sources returns the other living nodes in the order in which to ask them for an image: those that run it, its holders,
// all others. Each node has an order of its own, so that not all ask the same one.
func Sources(v cloud.View, self cloud.NodeName, digest string) []cloud.NodeName {
	rank := map[cloud.NodeName]int{}
	for _, n := range Holders(v, digest) {
		rank[n] = 1
	}
	for rel := range v.State.AllReleases() {
		if rel.Spec.Image.Digest != digest {
			continue
		}
		for i := range v.Instances.OfRelease(rel.ReleaseRef) {
			if i.Phase != cloud.InstanceExited && i.Addr.IsValid() {
				rank[i.Node] = 2
			}
		}
	}
	nodes := slices.DeleteFunc(living(v), func(n cloud.NodeName) bool { return n == self })
	slices.SortFunc(nodes, func(a, b cloud.NodeName) int {
		own := string(self) + " " + digest
		return cmp.Or(cmp.Compare(rank[b], rank[a]), cmp.Compare(hash(a, own), hash(b, own)), cmp.Compare(a, b))
	})
	return nodes
}

// living returns the nodes that are not known to be dead, by name.
func living(v cloud.View) (nodes []cloud.NodeName) {
	for n := range v.State.Nodes() {
		if status, ok := v.Instances.NodeStatus(n.Name); !ok || status.Alive {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}

func hash(n cloud.NodeName, text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(string(n) + " " + text))
	x := h.Sum64() // mixed, because the high bits of FNV hardly depend on the last bytes
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	return x ^ x>>33
}
