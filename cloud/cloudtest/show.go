package cloudtest

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Places writes the assignments and homes of a state as View reads them. Tokens are left out.
func Places(s *cloud.State) string {
	var b strings.Builder
	for a := range s.AllAssignments() {
		if len(a.Places) == 0 {
			fmt.Fprintf(&b, "decided %s\n", a.ReleaseRef)
		}
		for _, p := range a.Places {
			slot := strings.TrimPrefix(a.Slot(p).String(), "shop/")
			fmt.Fprintf(&b, "place %s %s gen=%d", slot, p.Node, p.Generation)
			if p.Alone {
				b.WriteString(" alone")
			}
			if p.Leaving {
				b.WriteString(" leaving")
			}
			b.WriteByte('\n')
		}
		if a.Reason != "" {
			fmt.Fprintf(&b, "%s waits: %s\n", a.ReleaseRef, a.Reason)
		}
	}
	for h := range s.Homes() {
		fmt.Fprintf(&b, "home %s %s\n", h.AppRef, h.Node)
	}
	return b.String()
}
