package cluster

import (
	"context"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/protoduction/micro/cloud"
)

// Remote asks the voters' etcds, for a node that is no voter itself, or the etcd that the user runs.
type Remote struct {
	client *clientv3.Client
	fixed  bool // the etcd is the user's, whose addresses are not those of nodes
}

// NewRemote returns a Remote that asks the voters among some nodes.
func NewRemote(d *Dialer, peers []Peer) (*Remote, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints(peers), Logger: zap.NewNop(), DialTimeout: dialTimeout,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second, PermitWithoutStream: true,
		MaxCallSendMsgSize: maxRequest, MaxCallRecvMsgSize: 1 << 30,
		DialOptions: []grpc.DialOption{
			// The dialer speaks TLS, which gRPC need not know.
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				host, _, _ := net.SplitHostPort(addr)
				return d.Dial(ctx, ProtoEtcd, cloud.NodeName(host))
			}),
		},
	})
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "cannot make a client of the cloud's store: %w", err)
	}
	return &Remote{client: client}, nil
}

// Client returns the client.
func (r *Remote) Client() *clientv3.Client { return r.client }

// SetPeers tells which nodes there are from now on.
func (r *Remote) SetPeers(peers []Peer) {
	if !r.fixed {
		r.client.SetEndpoints(endpoints(peers)...)
	}
}

// Close ends its connections.
func (r *Remote) Close() { _ = r.client.Close() }

// endpoints are the voters' names with a port that means nothing, as the dialer looks a node up by its name. Where no
// voter is known, each node may be one.
func endpoints(peers []Peer) []string {
	var voters, all []string
	for _, p := range peers {
		endpoint := net.JoinHostPort(string(p.Name), "1")
		all = append(all, endpoint)
		if p.Voter {
			voters = append(voters, endpoint)
		}
	}
	if len(voters) == 0 {
		return all
	}
	return voters
}
