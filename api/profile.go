package api

import (
	"context"
	"net/http"

	"github.com/protoduction/micro/cloud"
)

// FactKind says how a fact counts when two clouds are compared.
type FactKind string

// The kinds of facts.
const (
	// MustEqual is what two clouds must have in common.
	MustEqual FactKind = "equal"
	// MustEqualIfShared is of an object, such as a route, that one of the clouds may not have.
	MustEqualIfShared FactKind = "shared"
	// Scale is how large a cloud is.
	Scale FactKind = "scale"
	// Own is what each cloud has for itself, such as its domain.
	Own FactKind = "own"
)

// Fact is one thing that a cloud, or one of its nodes, is made of.
type Fact struct {
	Name  string   `json:"name"`
	Value string   `json:"value"`
	Kind  FactKind `json:"kind" enum:"equal,shared,scale,own" doc:"equal: two clouds should have the same; shared: so should they where both have it; scale: how large the cloud is; own: each cloud has its own"`
}

// Profile is what a cloud is made of, for a comparison with another one.
type Profile struct {
	Facts []Fact        `json:"facts" nullable:"false" doc:"What holds for the cloud as a whole"`
	Nodes []NodeProfile `json:"nodes" nullable:"false"`
}

// NodeProfile is what a node is made of.
type NodeProfile struct {
	Node  cloud.NodeName `json:"node"`
	Facts []Fact         `json:"facts" nullable:"false"`
	Error string         `json:"error,omitempty" doc:"Why nothing is known of the node"`
}

// Profile says what the cloud is made of.
func (c *Client) Profile(ctx context.Context) (Profile, error) {
	return call[Profile](ctx, c, http.MethodGet, "/v1/profile", nil, nil)
}
