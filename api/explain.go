package api

import (
	"context"
	"net/http"
	"net/url"
)

// ExplainQuery is what is to be explained.
type ExplainQuery struct {
	URL  string // "www.example.com/api" will do
	From string // the client's address; "" is this machine
	// AssumeDNS leaves out the look-up: the host's name counts as one of the node's addresses.
	AssumeDNS bool
	// Fields are of the request's header, as "Name: value".
	Fields []string
}

// Explanation is the way of a request, a hop at a time, up to the first one that is broken.
type Explanation struct {
	URL   string `json:"url"`
	From  string `json:"client" doc:"The client's IP address"`
	Works bool   `json:"works" doc:"The request would be answered by an app"`
	Hops  []Hop  `json:"hops" nullable:"false"`
}

// Hop is one step of a request's way.
type Hop struct {
	Name    string      `json:"name" enum:"name,listener,host,certificate,path,release,instance"`
	Status  CheckStatus `json:"status"`
	Text    string      `json:"text"`
	Hint    string      `json:"hint,omitempty" doc:"What to try next"`
	Details []string    `json:"details,omitempty"`
}

// Explain says where a request for a URL would go, and why.
func (c *Client) Explain(ctx context.Context, q ExplainQuery) (Explanation, error) {
	v := values{}.set("url", q.URL).set("from", q.From).flag("assume_dns", q.AssumeDNS)
	v["header"] = q.Fields
	return call[Explanation](ctx, c, http.MethodGet, "/v1/explain", url.Values(v), nil)
}
