package containers

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
	"testing"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/hosttest"
	"github.com/protoduction/micro/runtime/network"
)

const nodeEnv = "MICRO_TEST_NODE" // set in a process that runs a node, which a test will kill

// TestMain runs the tests in new namespaces. The test program is also the shim, and the nodes that tests kill.
func TestMain(m *testing.M) {
	if engine.ShimMain() {
		return
	}
	if plan := os.Getenv(nodeEnv); plan != "" {
		if err := runNode(plan); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	hosttest.Main(m, prepareTools)
}

// helpers is the folder where runc and the shim are built.
const helpers = "../engine/helpers"

// prepareTools builds the containers' program and runc, unless they exist.
func prepareTools() error {
	build := exec.Command(helpers + "/build.sh")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("%s/build.sh: %w", helpers, err)
	}
	bin, err := filepath.Abs(helpers + "/bin")
	if err != nil {
		return err
	}
	probe := exec.Command("go", "build", "-o", helpers+"/bin/probe", "./testdata/probe")
	probe.Env, probe.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := probe.Run(); err != nil {
		return fmt.Errorf("build the probe: %w", err)
	}
	return os.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// node has the parts of a node that these tests need.
type node struct {
	*Driver
	engine *engine.Engine
	net    *network.Network
	logger *slog.Logger
}

var testSubnet = netip.MustParsePrefix("10.77.0.0/22")

// openNode starts a node in a folder.
func openNode(ctx context.Context, dir string, log *slog.Logger) (*node, error) {
	state := engine.StateDir(dir)
	cfg := engine.Config{Root: filepath.Join(dir, "root"), State: state, Logger: log}
	if err := KeepExits(cfg); err != nil {
		return nil, err
	}
	e, err := engine.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d, err := openDriver(ctx, e, dir, log)
	if err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return &node{Driver: d, engine: e, net: d.net, logger: log}, nil
}

func openDriver(ctx context.Context, e *engine.Engine, dir string, log *slog.Logger) (*Driver, error) {
	shims, err := e.Shims(ctx, dir)
	if err != nil {
		return nil, err
	}
	n, err := network.Open(network.Config{Name: dir, Subnet: testSubnet, State: filepath.Join(e.State(), "ns"), Logger: log})
	if err != nil {
		return nil, err
	}
	return Open(ctx, Config{Engine: e, Shims: shims, Network: n, Logger: log})
}

// plan is what a node process does until it is killed.
type plan struct {
	Dir    string
	Start  []planned
	Remove []string
	Die    string // step at which it kills itself; "" waits for the test to kill it
}

// planned is a container that can be encoded as JSON.
type planned struct {
	runtime.Container
	// These hide the functions of those names.
	AddressEnv any `json:",omitempty"`
	Await      any `json:",omitempty"`
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
