package hosttest

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostEnv is set in the process inside the namespaces.
const hostEnv = "MICRO_TEST_HOST"

// Main calls prepare, which may be nil, runs the tests in new namespaces, and exits. Call it from TestMain.
func Main(m *testing.M, prepare func() error) {
	if os.Getenv(hostEnv) == "" {
		os.Exit(inNamespaces())
	}
	err := makeHost()
	if err == nil && prepare != nil {
		err = prepare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// inNamespaces runs this program again in new namespaces, and returns its exit code.
func inNamespaces() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), hostEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// makeHost sets up the loopback device, separates mounts from the real host, and mounts a file system in memory for
// the nodes' runtime folders.
func makeHost() error {
	lo, err := netlink.LinkByIndex(1)
	if err != nil {
		return err
	}
	const state = "/run/micro"
	return errors.Join(
		netlink.LinkSetUp(lo),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		os.MkdirAll(state, 0o711),
		unix.Mount("run", state, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711"),
	)
}

// Logger writes warnings and errors to the test's log, until the test ends.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // containerd's goroutines may outlive the test
		w.t.Logf("%s", p)
	}
	return len(p), nil
}
