package containers

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/engine/shim"
	"github.com/protoduction/micro/runtime/logs"
)

// TestLogWhileMicroIsDead lets an app print endlessly while micro is dead: the log must be limited to its end, and the
// app must go on.
func TestLogWithoutMicro(t *testing.T) {
	if shim.KeepLog < logs.DefaultLimit {
		t.Error("the shim gives back what micro would keep")
	}
	r := newRig(t)
	c := r.container("pour", "200")
	r.close()
	n := r.spawn(t, plan{Start: plans(c)})
	ip := n.running()[0].IP
	n.kill(false)
	var st unix.Stat_t
	eventually(t, "the shim has written all", func() bool {
		if err := unix.Stat(c.Log, &st); err != nil {
			t.Fatal(err)
		}
		return st.Size > 200<<20
	})
	r.ask(ip, 80) // the app still answers
	if kept := st.Blocks * 512; kept > shim.KeepLog+16<<20 || kept < shim.KeepLog {
		t.Errorf("%d bytes of %d are kept", kept, st.Size)
	}
	r.open()
}

// TestLogOnFullDisk checks that a full disk costs log lines, but does not stop the app.
func TestLogOnFullDisk(t *testing.T) {
	r := newRig(t)
	dir := filepath.Join(r.dir, "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := r.container("pour", "2")
	c.Log = filepath.Join(dir, "log")
	ip := r.start(c).IP
	eventually(t, "the app has printed all, and goes on", func() bool {
		conn, err := net.Dial("tcp", netip.AddrPortFrom(ip, 80).String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if err := r.Driver.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.Log)
	if err != nil || len(b) < 100<<10 || bytes.Contains(b, []byte{0}) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
