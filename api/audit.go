package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
)

// AuditLine says who did what to which object, or was refused.
type AuditLine struct {
	Number   uint64         `json:"number" doc:"From 1, without gaps"`
	Time     time.Time      `json:"time"`
	By       string         `json:"by" doc:"Who asked"`
	Role     cloud.Role     `json:"role,omitempty" doc:"The role that the connection gave in the whole cloud"`
	Source   string         `json:"source,omitempty" doc:"Where the request came from"`
	Token    cloud.TokenID  `json:"token,omitempty" doc:"The token that was shown"`
	Request  string         `json:"request_id,omitempty" doc:"Finds the request in the node's log"`
	Verb     string         `json:"verb"`
	Object   string         `json:"object,omitempty" doc:"What it was done to; of exec and run with the command"`
	Result   string         `json:"result" doc:"done, refused, started, exit 3, …"`
	Revision cloud.Revision `json:"revision,omitempty" doc:"That a change made"`
	Count    int            `json:"count,omitempty" doc:"Of refusals that the line stands for"`
	Previous string         `json:"previous,omitempty" doc:"The SHA-256 of the line before, as it is stored"`
}

// AuditCheck is what was found of the audit log.
type AuditCheck struct {
	First uint64 `json:"first_number" doc:"Number of the first line that is kept"`
	Last  uint64 `json:"last_number"`
}

// AuditQuery says which lines of the audit log to read, the oldest first.
type AuditQuery struct {
	After  uint64    // number of a line: go on behind it
	Since  time.Time // not before
	Tail   int       // no more than the last so many; below 0: all
	Follow bool
}

// Audit yields lines of the audit log. It ends with an error at the first line that is missing or was changed.
func (c *Client) Audit(ctx context.Context, q AuditQuery) iter.Seq2[AuditLine, error] {
	v := values{}.time("since", q.Since).flag("follow", q.Follow)
	if q.After > 0 {
		v["after"] = []string{strconv.FormatUint(q.After, 10)}
	}
	if q.Tail >= 0 {
		v["tail"] = []string{itoa(q.Tail)}
	}
	return stream[AuditLine](ctx, c, http.MethodGet, "/v1/audit", url.Values(v), nil)
}

// VerifyAudit reads the whole audit log and checks its chain.
func (c *Client) VerifyAudit(ctx context.Context) (AuditCheck, error) {
	return call[AuditCheck](ctx, c, http.MethodGet, "/v1/audit/verify", nil, nil)
}
