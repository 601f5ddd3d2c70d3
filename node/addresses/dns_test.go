package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestPublicDNS: a wildcard stands for what other machines may reach and is free.
func TestPublicDNS(t *testing.T) {
	machine := []netip.Addr{}
	for _, a := range []string{"127.0.0.1", "::1", "203.0.113.5", "10.0.0.5", "10.88.0.1", "2001:db8::5", "fe80::1", "169.254.3.4"} {
		machine = append(machine, netip.MustParseAddr(a))
	}
	f := func(configured, taken, want string) {
		t.Helper()
		var list []netip.AddrPort
		for _, a := range strings.Fields(configured) {
			list = append(list, netip.MustParseAddrPort(a))
		}
		got, err := PublicDNS(list, machine, func(a netip.AddrPort) bool { return !slices.Contains(strings.Fields(taken), a.String()) })
		text := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(got), "["), "]")
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%s: got %s, want %s", configured, text, want)
		}
	}
	f("", "", "")
	f("127.0.0.1:5353", "127.0.0.1:5353", "127.0.0.1:5353")
	f("0.0.0.0:53", "10.88.0.1:53", "203.0.113.5:53 10.0.0.5:53")
	f("203.0.113.5:53 0.0.0.0:53", "10.88.0.1:53 203.0.113.5:53", "203.0.113.5:53 10.0.0.5:53")
	f("[::]:53", "", "[2001:db8::5]:53")
	f("0.0.0.0:53", "10.88.0.1:53 203.0.113.5:53 10.0.0.5:53", "error")
}
