package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/features"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/protoduction/micro/cloud"
)

// etcd's clocks. A leader is missed after electionTicks, and the next one is there a second or two after the last one
// has died. Shorter ones would elect a new leader whenever a machine is busy.
const (
	tick          = 100 * time.Millisecond
	electionTicks = 8
)

const (
	// maxOps is what etcd is to accept in one transaction: kv.MaxOps and one of the engine's own.
	maxOps      = 4096
	maxRequest  = 2 << 20 // bytes: kv.MaxBytes and room for the keys' frame
	quota       = 8 << 30 // bytes of the store; etcd takes no writes beyond it
	maxLearners = 8
	// keepHistory is how long old revisions are kept, for watches that were interrupted.
	keepHistory = 10 * time.Minute
)

// Etcd is this node's copy of the store, which takes part in the cloud's etcd.
type Etcd struct {
	server *etcdserver.EtcdServer
	client *clientv3.Client
	grpc   *grpc.Server
	port   *Server
	peers  *queue
	end    *fatal
	ended  chan struct{}
}

// EtcdConfig says how to start an etcd.
type EtcdConfig struct {
	Folder Folder
	Member Membership
	// Initial are the members of the cloud with this one, by name. It counts only where there is no data yet.
	Initial []Peer
	// New begins a cloud with this node as its only member; else the node was added to one before.
	New  bool
	Port *Server
	Log  *slog.Logger
}

// StartEtcd starts this node's etcd. It returns when that has started; it may not have found the others yet.
func StartEtcd(cfg EtcdConfig) (*Etcd, error) {
	dir, _ := cfg.Folder.Etcd(cfg.Member)
	members := types.URLsMap{}
	for _, p := range cfg.Initial {
		members[string(p.Name)] = types.URLs{peerURL(p)}
	}
	own := peerURL(Peer{Name: cfg.Member.Node, Addr: cfg.Member.Addr})
	members[string(cfg.Member.Node)] = types.URLs{own}
	e := &Etcd{port: cfg.Port, end: &fatal{failed: make(chan struct{})}, ended: make(chan struct{})}
	log := newZap(cfg.Log, e.end)
	server, err := etcdserver.NewServer(config.ServerConfig{
		Name: string(cfg.Member.Node), Logger: log, DataDir: dir,
		PeerURLs: types.URLs{own}, ClientURLs: types.URLs{url.URL{Scheme: "https", Host: cfg.Member.Addr.String()}},
		InitialPeerURLsMap: members, InitialClusterToken: cfg.Member.Cloud, NewCluster: cfg.New,
		PeerTLSInfo: transport.TLSInfo{
			CertFile: cfg.Folder.path(certFile), KeyFile: cfg.Folder.path(keyFile), TrustedCAFile: cfg.Folder.path(authorityFile), ClientCertAuth: true, Logger: log,
		},
		TickMs: uint(tick / time.Millisecond), ElectionTicks: electionTicks, InitialElectionTickAdvance: true, PreVote: true, StrictReconfigCheck: true,
		SnapshotCount: etcdserver.DefaultSnapshotCount, SnapshotCatchUpEntries: etcdserver.DefaultSnapshotCatchUpEntries, MaxSnapFiles: 2, MaxWALFiles: 2,
		MaxTxnOps: maxOps, MaxRequestBytes: maxRequest, MaxConcurrentStreams: 1000, QuotaBackendBytes: quota, MaxLearners: maxLearners,
		AutoCompactionMode: "periodic", AutoCompactionRetention: keepHistory,
		WarningApplyDuration: time.Second, WarningUnaryRequestDuration: time.Second, DowngradeCheckTime: time.Minute, CompactHashCheckTime: time.Minute,
		AuthToken: "simple", BcryptCost: 10, TokenTTL: 300, V2Deprecation: config.V2DeprDefault, Metrics: "basic",
		ServerFeatureGate: features.NewDefaultServerFeatureGate(string(cfg.Member.Node), log),
	})
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot start this node's copy of the store: %w", err)
	}
	e.server = server
	go func() {
		defer close(e.ended)
		select {
		case <-e.end.failed:
		case <-server.StopNotify():
		}
	}()
	server.Start()
	cfg.Port.Handle(protoRaft, etcdhttp.NewPeerHandler(log, server))
	e.peers = cfg.Port.queue(protoRaft)
	e.grpc = v3rpc.Server(server, nil, nil,
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 5 * time.Second, Timeout: 2 * time.Second}))
	clients := cfg.Port.listen(ProtoEtcd)
	go func() { _ = e.grpc.Serve(clients) }() // ends with Close
	e.client = v3client.New(server)
	return e, nil
}

// peerURL is where etcd's members find one another. Its name is that of the node, too, because etcd knows members by
// their URLs.
func peerURL(p Peer) url.URL { return url.URL{Scheme: "https", Host: p.Addr.String()} }

// Client returns a client of this node's etcd, without a connection in between.
func (e *Etcd) Client() *clientv3.Client { return e.client }

// Ready waits until etcd has found a leader and answers.
func (e *Etcd) Ready(ctx context.Context) error {
	select {
	case <-e.server.ReadyNotify():
		return nil
	case <-e.Ended():
		return errEnded
	case <-ctx.Done():
		return NoMajority(ctx.Err())
	}
}

// NoMajority returns the error of a start that has waited in vain for a majority of the voters.
func NoMajority(cause error) error {
	return cloud.Errorf(cloud.Unavailable, "no majority of the voters answers: %w", cause).WithHint("start the other nodes; where a majority of them is lost for good: micro up --recover lost-all-others")
}

var errEnded = errors.New("this node's copy of the store has ended")

// Ended is closed when etcd has ended by itself: it was removed from the cloud, or could not write.
func (e *Etcd) Ended() <-chan struct{} { return e.ended }

// Outdated reports that etcd has ended because its disk does not have what it had acknowledged to the leader.
func (e *Etcd) Outdated() bool { return e.end.outdated.Load() }

// Votes reports whether this node's etcd is a voter. It does not ask the server's IsLearner, which panics while the member
// is being removed to become a learner.
func (e *Etcd) Votes() bool {
	own := e.server.Cluster().Member(e.server.MemberID())
	return own != nil && !own.IsLearner
}

// HasLeader reports whether this node's etcd knows a leader: only then a majority can take writes.
func (e *Etcd) HasLeader() bool { return e.server.Leader() != 0 }

// LeaderChanged returns a channel that is closed when this node's etcd knows another leader than now.
func (e *Etcd) LeaderChanged() <-chan struct{} { return e.server.LeaderChanged() }

// Close ends this node's etcd, after it has handed its lead over. Its data stay.
func (e *Etcd) Close() {
	e.grpc.Stop()
	e.peers.Close()
	_ = e.client.Close()
	select {
	case <-e.end.failed: // a part of it has ended already, and would be waited for
		e.peers.cut()
		go e.server.HardStop()
	default:
		_ = e.server.TryTransferLeadershipOnShutdown() // else the others elect one
		e.peers.cut()                                  // HardStop waits for what is being written to other nodes, and some may be gone
		e.server.HardStop()
	}
}
