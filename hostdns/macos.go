package hostdns

import (
	"context"
	"fmt"

	"github.com/protoduction/micro/cloud"
)

// macOS writes a file with the domain's name, which the system reads at once (resolver(5)).
type macOS struct{}

func resolverPath(d cloud.Domain) string { return "/etc/resolver/" + string(d) }

func (macOS) applies(_ context.Context, h *Host) bool { return h.OS == "darwin" }

func (macOS) install(_ context.Context, _ *Host, s Setup) ([]Step, error) {
	text := fmt.Sprintf("%snameserver %s\nport %d\n", s.note(), s.Server.Addr(), s.Server.Port())
	return []Step{write{resolverPath(s.Domain), text}}, nil
}

func (macOS) installed(h *Host, d cloud.Domain) (Setup, []Step, error) {
	s, ok, err := ownFile(h, resolverPath(d), d)
	if err != nil || !ok {
		return s, nil, err
	}
	return s, []Step{remove{resolverPath(d)}}, nil
}
