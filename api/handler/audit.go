package handler

import (
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/protoduction/micro/api"
)

// Audit is the audit log.
type Audit interface {
	// Lines yields the lines after a number, 0 for all that are kept, and with follow new ones until ctx ends. It
	// checks the chain as it goes, and ends with an error at the first line that is missing or was changed.
	Lines(ctx context.Context, after uint64, follow bool) iter.Seq2[api.AuditLine, error]
}

func (h *Handler) serveAudit() {
	events(h, operation("audit", "GET /v1/audit", "Read the audit log: who did what, and who was refused"),
		func(ctx context.Context, in *struct {
			After  uint64    `query:"after" doc:"Number of a line: go on behind it"`
			Since  time.Time `query:"since" doc:"Not before"`
			Tail   int       `query:"tail" minimum:"-1" default:"-1" doc:"No more than the last so many lines"`
			Follow bool      `query:"follow" doc:"Go on with new lines"`
		}) (iter.Seq2[api.AuditLine, error], error) {
			after := in.After
			if in.Tail >= 0 {
				last, err := h.lastLines(ctx, after, in.Tail, in.Since)
				if err != nil {
					return nil, err
				}
				after = last
			}
			return func(yield func(api.AuditLine, error) bool) {
				for l, err := range h.Audit.Lines(ctx, after, in.Follow) {
					if err == nil && l.Time.Before(in.Since) {
						continue
					}
					if !yield(l, err) {
						return
					}
				}
			}, nil
		},
		func(l api.AuditLine) string { return strconv.FormatUint(l.Number, 10) })
	get(h, operation("verify-audit", "GET /v1/audit/verify", "Read the whole audit log and check its chain"),
		func(ctx context.Context, _ *nothing) (api.AuditCheck, error) {
			var found api.AuditCheck
			for l, err := range h.Audit.Lines(ctx, 0, false) {
				if err != nil {
					return found, err
				}
				if found.First == 0 {
					found.First = l.Number
				}
				found.Last = l.Number
			}
			return found, ctx.Err()
		})
}

// lastLines returns the number of the line behind which there are so many.
func (h *Handler) lastLines(ctx context.Context, after uint64, tail int, since time.Time) (uint64, error) {
	last := after
	for l, err := range h.Audit.Lines(ctx, after, false) {
		if err != nil {
			return 0, err
		}
		if !l.Time.Before(since) {
			last = l.Number
		}
	}
	return max(after, last-min(last, uint64(tail))), nil
}
