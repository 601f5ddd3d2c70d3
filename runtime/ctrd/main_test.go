package ctrd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/network"
)

const (
	hostEnv = "MICRO_TEST_HOST" // this process has the namespaces of its own that the tests take for a host
	nodeEnv = "MICRO_TEST_NODE" // this process is a node, started by a test to be killed
)

// TestMain gives the tests a machine of their own: network and mounts that are gone with it.
func TestMain(m *testing.M) {
	if ShimMain() {
		return
	}
	if plan := os.Getenv(nodeEnv); plan != "" {
		if err := runNode(plan); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(hostEnv) == "" {
		os.Exit(inNamespaces())
	}
	lo, err := netlink.LinkByIndex(1)
	if err == nil {
		err = errors.Join(netlink.LinkSetUp(lo), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), ownRun(), prepareTools())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// ownRun has what nodes keep until the next boot gone with the tests.
func ownRun() error {
	const dir = "/run/micro"
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	return unix.Mount("run", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711")
}

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

// prepareTools builds what the containers run, and runc, unless they are there already.
func prepareTools() error {
	build := exec.Command("helpers/build.sh")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("helpers/build.sh: %w", err)
	}
	bin, err := filepath.Abs("helpers/bin")
	if err != nil {
		return err
	}
	probe := exec.Command("go", "build", "-o", "helpers/bin/probe", "./testdata/probe")
	probe.Env, probe.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := probe.Run(); err != nil {
		return fmt.Errorf("build the probe: %w", err)
	}
	return os.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// node is all of a node that this package and network are.
type node struct {
	*Driver
	engine *Engine
	net    *network.Network
	logger *slog.Logger
}

var testSubnet = netip.MustParsePrefix("10.77.0.0/22")

// openNode starts a node in a folder.
func openNode(ctx context.Context, dir string, log *slog.Logger) (*node, error) {
	state := StateDir(dir)
	e, err := Open(ctx, Config{Root: filepath.Join(dir, "root"), State: state, Logger: log})
	if err != nil {
		return nil, err
	}
	n, err := network.Open(network.Config{Name: dir, Subnet: testSubnet, State: filepath.Join(state, "ns"), Logger: log})
	if err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	d, err := NewDriver(ctx, e, DriverConfig{Data: dir, Network: n})
	if err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return &node{Driver: d, engine: e, net: n, logger: log}, nil
}

// plan is what a node that is started to be killed does.
type plan struct {
	Dir    string
	Start  []planned
	Remove []string
	Die    string // at this step, by SIGKILL; "" waits for the test to do it
}

// planned is a container that can be told as JSON.
type planned struct {
	runtime.Container
	AddressEnv any `json:",omitempty"` // in front of the function of that name
}

func runNode(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	ctx := context.Background()
	n, err := openNode(ctx, p.Dir, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	n.step = func(name string) error {
		if name == p.Die {
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		return nil
	}
	go func() { _ = n.Driver.Run(ctx) }()
	for _, c := range p.Start {
		if _, err := n.Start(ctx, c.Container); err != nil {
			return err
		}
	}
	for _, id := range p.Remove {
		if err := n.Driver.Remove(ctx, id); err != nil {
			return err
		}
	}
	all, err := n.List(ctx)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		return err
	}
	select {}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // containerd's goroutines may outlive the test
		w.t.Logf("%s", p)
	}
	return len(p), nil
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
