package cloud

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func prefixes(t *testing.T, texts ...string) (list []netip.Prefix) {
	t.Helper()
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestFreeSlice(t *testing.T) {
	f := func(setting string, nodes, avoid []string, want string) {
		t.Helper()
		s := NewState()
		if setting != "" {
			s = s.Apply(1, []Change{Put(&Settings{Subnet: netip.MustParsePrefix(setting)})})
		}
		for k, p := range prefixes(t, nodes...) {
			s = s.Apply(s.Rev()+1, []Change{Put(&Node{Name: NodeName(fmt.Sprintf("n%d", k)), Subnet: p})})
		}
		got, err := s.FreeSlice(prefixes(t, avoid...)...)
		switch {
		case want == "":
			if CodeOf(err) != Unavailable {
				t.Errorf("after %v: %s, %v", nodes, got, err)
			}
		case err != nil || got.String() != want:
			t.Errorf("after %v: %s, %v; want %s", nodes, got, err, want)
		}
	}
	one := []string{"10.88.0.0/20"} // a node that was the whole cloud
	f("", nil, nil, "")
	f("", one, nil, "10.88.16.0/22")
	f("", []string{"10.88.0.0/20", "10.88.16.0/22"}, nil, "10.88.20.0/22")
	f("", []string{"10.88.0.0/20", "10.88.20.0/22"}, nil, "10.88.16.0/22") // of a node that was removed
	f("", one, []string{"10.88.17.0/24", "10.88.22.128/25", "fd00::/8"}, "10.88.24.0/22")
	f("", one, []string{"10.0.0.0/8"}, "")
	f("", []string{"10.7.0.0/12"}, nil, "") // it has the whole subnet
	f("10.64.0.0/10", one, []string{"10.64.0.0/16"}, "10.65.0.0/22")
	f("10.60.0.0/24", []string{"10.60.0.0/28"}, nil, "10.60.0.16/28")
	f("255.255.0.0/16", []string{"255.255.0.0/17"}, []string{"255.255.128.0/17"}, "")
}

// TestSlicesOfManyNodes: every slice is in the cloud's subnet, overlaps no other, and none is refused while there is
// one.
func TestSlicesOfManyNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), rapid.IntRange(12, 24).Draw(t, "bits"))
		first := netip.PrefixFrom(subnet.Addr(), rapid.IntRange(subnet.Bits()+1, 29).Draw(t, "first"))
		s := NewState().Apply(1, []Change{Put(&Settings{Subnet: subnet}), Put(&Node{Name: "n", Subnet: first})})
		for k := range rapid.IntRange(1, 70).Draw(t, "nodes") {
			if k > 0 && rapid.IntRange(0, 9).Draw(t, "remove") == 0 {
				s = s.Apply(s.Rev()+1, []Change{Delete(&Node{Name: NodeName(fmt.Sprintf("n%d", k-1))})})
			}
			slice, err := s.FreeSlice()
			if err != nil {
				size := 0
				for n := range s.Nodes() {
					size += 1 << (32 - n.Subnet.Bits())
				}
				if most := min(29, max(sliceBits, subnet.Bits()+4)); size+1<<(32-most) <= 1<<(32-subnet.Bits()) && first.Bits() <= most {
					t.Fatalf("%v, with %d addresses of %s used", err, size, subnet)
				}
				return
			}
			if !subnet.Contains(slice.Addr()) || slice.Bits() < subnet.Bits() || slice.Masked() != slice {
				t.Fatalf("%s is no slice of %s", slice, subnet)
			}
			changes, err := s.Apply(s.Rev()+1, []Change{Put(&Node{Name: NodeName(fmt.Sprintf("n%d", k))})}).SetNetwork(NodeName(fmt.Sprintf("n%d", k)), slice, Overlay{})
			if err != nil {
				t.Fatal(err)
			}
			s = s.Apply(s.Rev()+1, changes)
		}
	})
}
