package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
)

// NewCluster asks a cloud of one node to take others.
type NewCluster struct {
	Addr  netip.AddrPort `json:"addr,omitzero" doc:"IP:port on which other nodes reach this one; missing: the node chooses"`
	Store *ExternalStore `json:"store,omitempty" doc:"An etcd of your own that the store moves to; missing: etcd inside micro"`
}

// ExternalStore is an etcd that the user runs.
type ExternalStore struct {
	URL      string `json:"url" doc:"etcd://HOST:PORT,…/PREFIX, or etcds:// for TLS; a user may be in it"`
	Password string `json:"password,omitempty" doc:"Of the user"`
	CA       string `json:"ca,omitempty" doc:"PEM: who vouches for etcd; missing: the authorities of the machine"`
	Cert     string `json:"cert,omitempty" doc:"PEM: what nodes show to etcd"`
	Key      string `json:"key,omitempty" doc:"PEM: its key"`
}

// NewJoinToken asks for a token with which one node may join.
type NewJoinToken struct {
	Expires string `json:"expires,omitempty" doc:"How long it is good for, such as 1h; 24h if missing"`
}

// JoinToken lets one node join the cloud, once.
type JoinToken struct {
	Token   string    `json:"token" doc:"A secret, which is shown once"`
	Expires time.Time `json:"expires"`
}

// Cluster is the nodes of a cloud and its store, as the answering node sees them.
type Cluster struct {
	Joinable bool           `json:"joinable" doc:"Other nodes can join"`
	Writable bool           `json:"writable" doc:"A majority of the voters answers, so that changes are possible"`
	Leader   cloud.NodeName `json:"leader,omitempty" doc:"The node that gives instances their places, and has the cloud's other duties"`
	Text     string         `json:"text" doc:"How it is, in words"`
	Hint     string         `json:"hint,omitempty" doc:"What to do about it"`
	Store    string         `json:"store,omitempty" doc:"Where the user's own etcd is that has the store; missing: the nodes have it"`
	Nodes    []ClusterNode  `json:"nodes" nullable:"false"`
}

// ClusterNode is a node, as the others see it.
type ClusterNode struct {
	Name      cloud.NodeName    `json:"name"`
	Addr      string            `json:"addr,omitempty" doc:"IP:port on which other nodes reach it"`
	Status    string            `json:"status" enum:"alive,dead,unknown" doc:"dead: it has given no sign of life for some seconds; unknown: it may be starting"`
	Worker    bool              `json:"worker" doc:"Other machines can't connect to it: it connects to them, and they reach it over the overlay"`
	Drained   bool              `json:"drained" doc:"It gets no new instances, and those that it has move away"`
	Store     string            `json:"store" enum:"voter,learner,starting,none,external,unknown" doc:"Its copy of the store: a voter's counts for the majority; external: an etcd has it that micro does not run; unknown: no majority says"`
	Instances int               `json:"instances" doc:"How many run there"`
	Places    int               `json:"places" doc:"How many are to run there"`
	Labels    map[string]string `json:"labels,omitempty"`
	Subnet    string            `json:"subnet,omitempty" doc:"The range of its containers' addresses"`
	Memory    int64             `json:"memory,omitempty" doc:"Bytes that the machine has"`
	CPU       float64           `json:"cpu,omitempty" doc:"Cores that the machine has"`
	Reserved  int64             `json:"reserved" doc:"Bytes that its instances may use together"`
	Joined    *time.Time        `json:"joined,omitempty"`
	Version   string            `json:"version,omitempty" doc:"The micro that it last started with"`
	Upgrading bool              `json:"upgrading" doc:"Its program is being replaced by another one; no other node's is meanwhile"`
	Leads     bool              `json:"leads" doc:"It is the leader"`
	Answers   bool              `json:"answers" doc:"It is the node that answers this request"`
}

// Recovery asks a node to be the whole cloud.
type Recovery struct {
	LostAllOthers bool `json:"lost_all_others" doc:"All other nodes are lost for good, with what only they had"`
}

// NodeRemoval asks for a node to be removed.
type NodeRemoval struct {
	Lost bool `json:"lost,omitempty" doc:"The node is gone for good: it need not be drained"`
}

// NodeUpgrade is the replacement of a node's program by the one that is installed on its machine.
type NodeUpgrade struct {
	Node      cloud.NodeName `json:"node"`
	From      string         `json:"from" doc:"The version that runs"`
	To        string         `json:"to" doc:"The version that is installed"`
	Unchanged bool           `json:"unchanged" doc:"The installed program runs already"`
}

// NodeLabels asks for labels of a node.
type NodeLabels struct {
	Labels map[string]string `json:"labels" doc:"An empty value removes a label"`
}

// StartCluster makes the cloud one that other nodes can join.
func (c *Client) StartCluster(ctx context.Context, n NewCluster) (Cluster, error) {
	return call[Cluster](ctx, c, http.MethodPost, "/v1/cluster", nil, n)
}

// RecoverCluster makes a node the whole cloud.
func (c *Client) RecoverCluster(ctx context.Context, r Recovery) (Cluster, error) {
	return call[Cluster](ctx, c, http.MethodPost, "/v1/cluster/recover", nil, r)
}

// Cluster shows the nodes and the store.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	return call[Cluster](ctx, c, http.MethodGet, "/v1/cluster", nil, nil)
}

// CreateJoinToken makes a token with which one node may join.
func (c *Client) CreateJoinToken(ctx context.Context, n NewJoinToken) (JoinToken, error) {
	return call[JoinToken](ctx, c, http.MethodPost, "/v1/cluster/tokens", nil, n)
}

// DrainNode moves a node's instances to others.
func (c *Client) DrainNode(ctx context.Context, n cloud.NodeName) (Changed, error) {
	return c.changeNode(ctx, n, "drain", nil)
}

// UndrainNode lets a node have instances again.
func (c *Client) UndrainNode(ctx context.Context, n cloud.NodeName) (Changed, error) {
	return c.changeNode(ctx, n, "undrain", nil)
}

// RemoveNode removes a node from the cloud.
func (c *Client) RemoveNode(ctx context.Context, n cloud.NodeName, r NodeRemoval) (Changed, error) {
	return c.changeNode(ctx, n, "remove", r)
}

// UpgradeNode has a node start the program that is installed on its machine, in the place of the one that runs. It returns
// when that has begun.
func (c *Client) UpgradeNode(ctx context.Context, n cloud.NodeName) (NodeUpgrade, error) {
	return call[NodeUpgrade](ctx, c, http.MethodPost, "/v1/nodes/"+url.PathEscape(string(n))+"/upgrade", nil, nil)
}

// LabelNode sets labels of a node.
func (c *Client) LabelNode(ctx context.Context, n cloud.NodeName, l NodeLabels) (Changed, error) {
	return c.changeNode(ctx, n, "labels", l)
}

func (c *Client) changeNode(ctx context.Context, n cloud.NodeName, verb string, body any) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/nodes/"+url.PathEscape(string(n))+"/"+verb, nil, body)
}
