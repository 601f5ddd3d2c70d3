package runtime

import (
	"context"
	"net/netip"

	"github.com/protoduction/micro/cloud"
)

// Ask has instances asked by f whether they are well.
func (a *Agent) Ask(f func(context.Context, cloud.Check, netip.AddrPort) error) { a.ask = f }

// For tests from outside.
var (
	Probe     = probe
	Elsewhere = elsewhere
	Shortage  = shortage
)
