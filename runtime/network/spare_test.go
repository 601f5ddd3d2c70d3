package network

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace returns the kernel's number of a pinned namespace, 0 for none.
func namespace(t *testing.T, file string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if !pinned(file) {
		return 0
	}
	if err := unix.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestSpare(t *testing.T) {
	n := testNetwork(t, "a", "10.1.0.0/24")
	file := func(name string) string { return filepath.Join(n.cfg.State, name) }
	prepare := func(group uint32) (user, net uint64) {
		t.Helper()
		n.spare.group = group
		if err := n.prepareSpare(); err != nil {
			t.Fatal(err)
		}
		return namespace(t, file("_spare.user")), namespace(t, file("_spare.net"))
	}
	user, net := prepare(3)
	attach(t, n, "other", 4)
	if got := namespace(t, file("other.net")); got == net {
		t.Error("another group's container has the spare namespaces")
	}
	first := attach(t, n, "first", 3)
	if u, n := namespace(t, file("first.user")), namespace(t, file("first.net")); u != user || n != net || n == 0 {
		t.Errorf("first: %d and %d, not the spare %d and %d", u, n, user, net)
	}
	second := attach(t, n, "second", 3)
	second.listen(80)
	if got := first.answer(first.IP.String(), "tcp", second.IP, 80); got != first.IP.String() {
		t.Errorf("the second saw %q", got)
	}
	// If the spare was removed by another program, containers can still be attached.
	prepare(3)
	if err := unpin(file("_spare.net")); err != nil {
		t.Fatal(err)
	}
	third := attach(t, n, "third", 3)
	if got := third.answer(third.IP.String(), "tcp", second.IP, 80); got != third.IP.String() {
		t.Errorf("the second saw %q", got)
	}
	// The spare changes with the group of the last container.
	prepare(3)
	if _, net := prepare(4); net == 0 {
		t.Error("the other group has no spare")
	}
	// The next process removes the spare of a killed one.
	again, err := Open(n.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Sync(nil); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(n.cfg.State); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestRunHasSpare(t *testing.T) {
	n := testNetwork(t, "a", "10.1.0.0/24")
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- n.Run(ctx, func(id string, err error) { t.Errorf("%s: %v", id, err) }) }()
	spare := func(not uint64) uint64 {
		t.Helper()
		for range 6000 {
			if now := namespace(t, filepath.Join(n.cfg.State, "_spare.net")); now != 0 && now != not {
				return now
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("there are no spare namespaces")
		return 0
	}
	before := spare(0)
	attach(t, n, "one", 0)
	spare(before)
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(n.cfg.State, "_*")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
