package runtime

import (
	"context"
	"net/netip"

	"github.com/protoduction/micro/cloud"
)

// Ask replaces the agent's health checks by f.
func (a *Agent) Ask(f func(context.Context, cloud.Protocol, cloud.Check, netip.AddrPort) error) {
	a.ask = f
}

// Exported for tests in package runtime_test.
var (
	Probe     = probe
	Elsewhere = describeListeners
	Shortage  = shortage
)
