package cluster

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/protoduction/micro/cloud"
)

// Member is what etcd knows of one node's copy of the store.
type Member struct {
	ID      uint64
	Addr    string // IP:port
	Learner bool
	Started bool // it has been seen running
}

// Access is a way to the cloud's etcd: this node's own, or the voters'.
type Access interface{ Client() *clientv3.Client }

// Members returns the members of the cloud's etcd, as a majority knows them.
func Members(ctx context.Context, a Access) ([]Member, error) {
	resp, err := a.Client().MemberList(ctx)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot list the copies of the store: %w", err)
	}
	return members(resp.Members), nil
}

func members(list []*etcdserverpb.Member) (out []Member) {
	for _, m := range list {
		addr := ""
		if len(m.PeerURLs) > 0 {
			addr = m.PeerURLs[0][len("https://"):]
		}
		out = append(out, Member{ID: m.ID, Addr: addr, Learner: m.IsLearner, Started: m.Name != ""})
	}
	return out
}

// AddLearner makes a node a member of etcd that has a copy and no vote.
func AddLearner(ctx context.Context, a Access, p Peer) error {
	u := peerURL(p)
	_, err := a.Client().MemberAddAsLearner(ctx, []string{u.String()})
	if err != nil && !errors.Is(err, rpctypes.ErrPeerURLExist) {
		return cloud.Errorf(cloud.Unavailable, "cannot give node %s a copy of the store: %w", p.Name, err)
	}
	return nil
}

// Promote makes a learner a voter. It fails as long as the learner has not caught up.
func Promote(ctx context.Context, a Access, id uint64) error {
	_, err := a.Client().MemberPromote(ctx, id)
	if err != nil && !errors.Is(err, rpctypes.ErrMemberNotLearner) {
		return cloud.Errorf(cloud.Unavailable, "cannot make a copy of the store a voter: %w", err)
	}
	return nil
}

// RemoveMember removes a member. Its etcd ends.
func RemoveMember(ctx context.Context, a Access, id uint64) error {
	_, err := a.Client().MemberRemove(ctx, id)
	if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return cloud.Errorf(cloud.Unavailable, "cannot remove a copy of the store: %w", err)
	}
	return nil
}

// MemberAt returns the member at an address.
func MemberAt(all []Member, addr string) (Member, bool) {
	k := slices.IndexFunc(all, func(m Member) bool { return m.Addr == addr })
	if k < 0 {
		return Member{}, false
	}
	return all[k], true
}

// PeersOf returns members by names that etcd only needs to tell apart, without the one at own.
func PeersOf(all []Member, own netip.AddrPort) (peers []Peer) {
	for _, m := range all {
		if addr, err := netip.ParseAddrPort(m.Addr); err == nil && addr != own {
			peers = append(peers, Peer{Name: cloud.NodeName(m.Addr), Addr: addr})
		}
	}
	return peers
}
