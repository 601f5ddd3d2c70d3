package runtime

import (
	"context"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Ask has instances asked by f whether they are well.
func (a *Agent) Ask(f func(context.Context, cloud.Check, netip.AddrPort) error) { a.ask = f }

// For tests from outside.
var (
	Probe     = probe
	Elsewhere = elsewhere
	Until     = until
	Describe  = describe
)

// Apply is what becomes of the state.
func (d Decision) Apply(s *cloud.State, warm time.Duration, at cloud.Stamp) []cloud.Change {
	return d.apply(s, warm, at)
}
