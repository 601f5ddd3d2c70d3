package dnsd

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNetworks(t *testing.T) {
	addrs := func(text string) (all []netip.Addr) {
		for a := range strings.FieldsSeq(text) {
			all = append(all, netip.MustParseAddr(a))
		}
		return all
	}
	own := addrs("127.0.0.1 ::1 192.168.1.5 10.9.0.5 fd00::5 10.77.0.1")
	f := func(listeners, client string, class Class, a, aaaa string) {
		t.Helper()
		r := Reach{
			Listeners: addrs(listeners), Subnet: netip.MustParsePrefix("10.77.0.0/20"), Gateway: netip.MustParseAddr("10.77.0.1"), Own: own,
			Local: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("fd00::/64")},
		}
		text := func(a netip.Addr) string {
			if !a.IsValid() {
				return ""
			}
			return a.String()
		}
		v := NewViews(r.Networks()).Find(netip.MustParseAddr(client))
		if v.Class != class || text(v.A) != a || text(v.AAAA) != aaaa {
			t.Errorf("listeners %s, client %s: class %d %v %v, want %d %s %s", listeners, client, v.Class, v.A, v.AAAA, class, a, aaaa)
		}
	}
	const usual = "127.0.0.1 10.77.0.1"
	f(usual, "127.0.0.1", Loopback, "127.0.0.1", "")
	f(usual, "::ffff:127.0.0.9", Loopback, "127.0.0.1", "")
	f(usual, "::1", Loopback, "127.0.0.1", "")
	f("127.0.0.2 10.77.0.1", "127.0.0.1", Loopback, "127.0.0.2", "") // a second node on a machine
	f("127.0.0.2 127.0.0.1", "127.0.0.2", Loopback, "127.0.0.1", "")
	f(usual, "10.77.0.1", Loopback, "127.0.0.1", "") // this machine, asking at the gateway
	f(usual, "192.168.1.5", Loopback, "127.0.0.1", "")
	f(usual, "10.77.3.9", Container, "10.77.0.1", "")
	f(usual, "192.168.1.77", Local, "", "")
	f(usual, "192.168.2.1", Outside, "", "")
	f(usual, "2001:db8::1", Outside, "", "")
	f(usual+" 192.168.1.5 10.9.0.5", "192.168.1.77", Local, "192.168.1.5", "")
	f(usual+" 192.168.1.5 10.9.0.5", "10.9.8.7", Local, "10.9.0.5", "")
	f(usual+" 192.168.1.5", "10.9.8.7", Local, "192.168.1.5", "")
	f("0.0.0.0", "10.9.8.7", Local, "10.9.0.5", "")
	f("0.0.0.0", "127.0.0.1", Loopback, "127.0.0.1", "")
	f("::", "127.0.0.1", Loopback, "127.0.0.1", "::1")
	f("::", "fd00::99", Local, "192.168.1.5", "fd00::5")
	f("192.168.1.5", "127.0.0.1", Loopback, "192.168.1.5", "")
}
