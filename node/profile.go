package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/profile"
)

// profiles says what the cloud is made of. It implements handler.Profiles.
type profiles struct{ *Node }

// profileTime is how long another node may take to say what it is made of.
const profileTime = 10 * time.Second

// Profile implements handler.Profiles.
func (p profiles) Profile(ctx context.Context) (api.Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, profileTime)
	defer cancel()
	s := p.snapshots.View().State
	out := api.Profile{Facts: p.cloudFacts(s), Nodes: []api.NodeProfile{}}
	var names []cloud.NodeName
	for node := range s.Nodes() {
		names = append(names, node.Name)
	}
	out.Nodes = make([]api.NodeProfile, len(names))
	var asking sync.WaitGroup
	for k, name := range names {
		asking.Go(func() { out.Nodes[k] = p.profileOf(ctx, name) })
	}
	asking.Wait()
	return out, nil
}

func (n *Node) profileOf(ctx context.Context, name cloud.NodeName) api.NodeProfile {
	if name == n.cfg.Name {
		return n.ownProfile(ctx)
	}
	if !n.lives(name) {
		return api.NodeProfile{Node: name, Facts: []api.Fact{}, Error: "the node is dead"}
	}
	theirs, err := callNode[api.NodeProfile](ctx, n, name, http.MethodGet, "/peer/profile", nil)
	if err != nil {
		return api.NodeProfile{Node: name, Facts: []api.Fact{}, Error: err.Error()}
	}
	return theirs
}

// ownProfile returns what this node is made of.
func (n *Node) ownProfile(ctx context.Context) api.NodeProfile {
	facts := profile.Facts(ctx, profile.Config{
		Settings: n.cfg.Node, Version: n.cfg.Version, Runc: n.shims.Runc(), Shim: n.shims.Program(), Init: n.shims.Init(),
		Controllers: n.driver.Controllers, DiskQuotas: n.driver.KeepsDiskLimits, Listeners: n.listeners(),
	})
	images, err := n.images.List(ctx)
	if err != nil {
		return api.NodeProfile{Node: n.cfg.Name, Facts: facts, Error: err.Error()}
	}
	for _, i := range images {
		if i.Name != "" && i.Name != i.Digest { // the others are of releases
			facts = append(facts, api.Fact{Name: "base " + i.Name, Value: i.Digest, Kind: api.MustEqual})
		}
	}
	return api.NodeProfile{Node: n.cfg.Name, Facts: facts}
}

// listeners returns what kinds of addresses this node listens on.
func (n *Node) listeners() (kinds []string) {
	for kind, used := range map[string]bool{
		"http": len(n.addresses.HTTP) > 0, "https": len(n.addresses.People()) > 0, "dns": len(n.cfg.DNS) > 0,
		"public-http": len(n.addresses.Public) > 0, "public-https": len(n.addresses.PublicHTTPS) > 0,
		"public-dns": n.publicDNS != nil, "api": len(n.remote) > 0,
	} {
		if used {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// cloudFacts returns what holds for the cloud as a whole.
func (n *Node) cloudFacts(s *cloud.State) []api.Fact {
	facts := limitFacts(s)
	for _, k := range n.services.Kinds() {
		var images []string
		for _, version := range slices.Sorted(maps.Keys(k.Images)) {
			images = append(images, version+"="+k.Images[version])
		}
		facts = append(facts, api.Fact{Name: "kind " + k.Name, Value: strings.Join(images, ", ") + "; default " + k.Default, Kind: api.MustEqual})
	}
	facts = append(facts, scaleFacts(s)...)
	settings := s.Settings()
	own := func(name, value string) { facts = append(facts, api.Fact{Name: name, Value: value, Kind: api.Own}) }
	own("domain", string(settings.Domain))
	own("subnet", s.Subnet().String())
	return facts
}

// limitFacts returns the limits of all requests, and those of each route. A host of the private domain is named without
// that, because two clouds may have different ones.
func limitFacts(s *cloud.State) (facts []api.Fact) {
	settings := s.Settings()
	inForce := settings.Limits.Or(cloud.DefaultLimits)
	for _, k := range cloud.LimitKinds {
		facts = append(facts, api.Fact{Name: "limit " + k.Name, Value: k.Text(inForce), Kind: api.MustEqual})
	}
	for vhost := range s.VirtualHosts() {
		host := string(vhost.Host)
		if name, ok := strings.CutSuffix(host, "."+string(settings.Domain)); ok {
			host = name + ".DOMAIN"
		}
		for _, r := range vhost.Routes {
			texts := r.Limits.Texts()
			var set []string
			for _, name := range slices.Sorted(maps.Keys(texts)) {
				set = append(set, name+"="+texts[name])
			}
			value := strings.Join(set, ", ")
			if value == "" {
				value = "default"
			}
			facts = append(facts, api.Fact{Name: "route " + host + r.Path, Value: value, Kind: api.MustEqualIfShared})
		}
	}
	return facts
}

// scaleFacts returns how large the cloud is.
func scaleFacts(s *cloud.State) (facts []api.Fact) {
	var nodes, voters, apps, places int
	var memory, cpu int64
	for node := range s.Nodes() {
		nodes++
		if node.Copy == cloud.Voter {
			voters++
		}
		memory, cpu = memory+node.Size.Memory, cpu+node.Size.CPU
	}
	for range s.Apps("") {
		apps++
	}
	for a := range s.AllAssignments() {
		places += len(a.Places)
	}
	for name, value := range map[string]string{
		"nodes": strconv.Itoa(nodes), "voters": strconv.Itoa(voters), "apps": strconv.Itoa(apps), "instances": strconv.Itoa(places),
		"memory": cloud.FormatSize(memory), "cores": fmt.Sprint(float64(cpu) / 1000),
	} {
		facts = append(facts, api.Fact{Name: name, Value: value, Kind: api.Scale})
	}
	slices.SortFunc(facts, func(a, b api.Fact) int { return strings.Compare(a.Name, b.Name) })
	return facts
}
