package network

import (
	"errors"
	"slices"
	"testing"
)

// TestAbandonedTable has a node whose address and links somebody removed, but not its table: the next node with its
// subnet has a network that works.
func TestAbandonedTable(t *testing.T) {
	before := hostState(t)
	dead, alive := testNetwork(t, "dead", "10.60.0.0/24"), testNetwork(t, "alive", "10.61.0.0/24")
	if err := errors.Join(dead.Sweep(nil), dead.dropSpare(), dead.restoreHost()); err != nil {
		t.Fatal(err)
	}
	next := testNetwork(t, "next", "10.60.0.0/24")
	a, b := attach(t, next, "a", 1), attach(t, next, "b", 1)
	a.listen(80)
	if got := b.answer(b.IP.String(), "tcp", a.IP, 80); got != b.IP.String() {
		t.Errorf("in the network of a node that was there before: seen as %q", got)
	}
	if c, _, err := alive.nft(); err != nil {
		t.Error(err)
	} else if names, err := nodeTables(c); err != nil || len(names) != 2 || !slices.Contains(names, alive.table) {
		t.Errorf("tables: %v, %v", names, err)
	}
	if err := errors.Join(next.Destroy(), alive.Destroy()); err != nil {
		t.Error(err)
	}
	if after := hostState(t); after != before {
		t.Errorf("the host is not as it was:\n%s\nwas:\n%s", after, before)
	}
}
