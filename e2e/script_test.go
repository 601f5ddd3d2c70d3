package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/program"
	"github.com/protoduction/micro/runtime/build/child"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/testdata/apps"
	"github.com/protoduction/micro/testdata/debimage"
)

// TestMain makes the test binary be micro too, with all its faces, so that the race detector sees them.
func TestMain(m *testing.M) {
	if engine.ShimMain() {
		return
	}
	if code, ours := child.Main(os.Args); ours {
		os.Exit(code)
	}
	version := markedVersion()
	if version == brokenVersion && len(os.Args) > 1 && os.Args[1] == "up" && os.Getenv("MICRO_REPLACES") != "" {
		fmt.Fprintln(os.Stderr, "error: this program is broken")
		os.Exit(1)
	}
	micro := func() { program.Main(api.Version{Version: version}) }
	testscript.Main(inModule{m}, map[string]func(){"micro": micro, "etcd": etcdMain, "killatsync": killAtSync, "gofetch": goFetch})
}

// inModule runs tests in the module's folder, so that they name files as documents do.
type inModule struct{ *testing.M }

func (m inModule) Run() int {
	if err := os.Chdir(".."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// Each script in testdata/script has a node of its own, with folders, ports and a subnet that no other
// has. When it ends the node is taken down, and nothing of it may be left on the machine.
func TestScripts(t *testing.T) { testscript.Run(t, scriptsIn("testdata/script")) }

// scriptsIn returns how to run the scripts in a folder.
func scriptsIn(dir string) testscript.Params {
	return testscript.Params{
		Dir:   dir,
		Setup: setUpNode,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"app":        appCommand,
			"archive":    archiveCommand,
			"as":         asCommand,
			"break":      breakCommand,
			"broker":     brokerCommand,
			"builder":    builderCommand,
			"cable":      cableCommand,
			"clock":      clockCommand,
			"clients":    clientsCommand,
			"code":       codeCommand,
			"containers": containersCommand,
			"disk":       diskCommand,
			"eventually": eventually,
			"faults":     faultsCommand,
			"gone":       goneCommand,
			"helloimage": helloImageCommand,
			"hold":       holdCommand,
			"http":       httpCommand,
			"http3":      http3Command,
			"image":      imageCommand,
			"json":       jsonCommand,
			"killat":     killAtCommand,
			"ledger":     ledgerCommand,
			"line":       lineCommand,
			"load":       loadCommand,
			"long":       longCommand,
			"machines":   machinesCommand,
			"manager":    managerCommand,
			"matrix":     matrixCommand,
			"nat":        natCommand,
			"node":       nodeCommand,
			"oidc":       oidcCommand,
			"outside":    outsideCommand,
			"pebble":     pebbleCommand,
			"program":    programCommand,
			"raw":        rawCommand,
			"reboot":     rebootCommand,
			"receive":    receiveCommand,
			"registry":   registryCommand,
			"s3server":   s3Command,
			"settled":    settledCommand,
			"signal":     signalCommand,
			"spread":     spreadCommand,
			"sshd":       sshdCommand,
			"stepkill":   stepkillCommand,
			"stream":     streamCommand,
			"tty":        ttyCommand,
			"world":      worldCommand,
			"ws":         wsCommand,
		},
		RequireExplicitExec: true,
	}
}

// patience is how long a script waits at most for what is to come, beyond the time that it takes on a machine with nothing
// else to do. It promises nothing of micro: a machine that does other work may stand still for many seconds.
const patience = 2 * time.Minute

var nodes atomic.Int32

// setUpNode gives a script a place for its node, by the variables that micro itself knows.
func setUpNode(env *testscript.Env) error {
	n := int(nodes.Add(1))
	dir, err := os.MkdirTemp("", "mt") // short: sockets are in it
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // as /var/lib is
		return err
	}
	ports, err := freePorts()
	if err != nil {
		return err
	}
	env.Setenv("MICRO_DATA", filepath.Join(dir, "d"))
	env.Setenv("MICRO_NAME", fmt.Sprintf("t%d", n))
	env.Setenv("MICRO_HTTP", fmt.Sprintf("127.0.0.1:%d", ports))
	env.Setenv("MICRO_DNS", fmt.Sprintf("127.0.0.1:%d", ports+1))
	env.Setenv("MICRO_SUBNET", network(100, n)+".0/20")
	env.Setenv("NODE", network(100, n))
	env.Setenv("OTHER", network(200, n)) // for networks beside the node's
	env.Setenv("MICRO_CONFIG", filepath.Join(dir, "none.yml"))
	// The node has the first two; the others are for scripts that ask for them.
	for i, name := range portNames {
		env.Setenv(name, strconv.Itoa(ports+i))
	}
	env.Setenv("CI", "1")
	source, err := os.Getwd()
	if err != nil {
		return err
	}
	env.Setenv("SOURCE", source)
	env.Defer(func() {
		// The script's node, and others that it has started beside it.
		locks, _ := filepath.Glob(filepath.Join(dir, "d*", "lock"))
		for _, lock := range locks {
			if err := takeDown(env, filepath.Dir(lock)); err != nil {
				env.T().Log(err)
				env.T().FailNow()
			}
		}
		_ = unix.Unmount(env.Getenv("MICRO_DATA"), unix.MNT_DETACH) // where it is a disk of its own
		if err := os.RemoveAll(dir); err != nil {
			env.T().Log(err)
			env.T().FailNow()
		}
	})
	return nil
}

// takeDown takes the node with a data folder off the machine, and returns an error where something of it is left.
func takeDown(env *testscript.Env, data string) error {
	cmd := exec.Command("micro", "down", "--data", data)
	cmd.Env = append(env.Vars, "PATH="+env.Getenv("PATH"))
	if path, err := lookPath(env.Getenv("PATH"), "micro"); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("micro down: %w: %s", err, out)
	}
	if left := leftOnHost(data); left != "" {
		return fmt.Errorf("left on the host after micro down: %s", left)
	}
	return nil
}

// network returns the first three numbers of a /20 that no address or route of this machine was in when the tests started, that
// no other node of this process has, and few of another process's. base is 100 or 200.
func network(base, n int) string {
	return freeNetworks()[base][n]
}

var freeNetworks = sync.OnceValue(func() map[int][]string {
	own, err := net.InterfaceAddrs()
	if err != nil {
		panic(err)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		panic(err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP.To4() != nil && !r.Dst.IP.IsUnspecified() {
			own = append(own, r.Dst)
		}
	}
	found := map[int][]string{}
	for _, base := range []int{100, 200} {
		const count = 50 * 16
		for i := range count {
			i := (i + 80*(os.Getpid()%10)) % count
			start := fmt.Sprintf("10.%d.%d", base+i/16, i%16*16)
			block := netip.MustParsePrefix(start + ".0/20")
			taken := slices.ContainsFunc(own, func(a net.Addr) bool {
				p, err := netip.ParsePrefix(a.String())
				return err == nil && p.Overlaps(block)
			})
			if !taken {
				found[base] = append(found[base], start)
			}
		}
	}
	return found
})

func lookPath(path, program string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if info, err := os.Stat(filepath.Join(dir, program)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, program), nil
		}
	}
	return "", exec.ErrNotFound
}

// portNames are the variables that have the script's ports.
var portNames = []string{"HTTP", "DNS", "HTTPS", "PUBLICHTTP", "PUBLICHTTPS", "ACME", "ACMEADMIN", "PUBLICDNS", "WORLDDNS", "S3PORT"}

// lastBlock is the block of ports that was tried last, as its place among all. Other runs of these tests look at the same
// time, and begin elsewhere.
var lastBlock = func() *atomic.Int32 {
	var n atomic.Int32
	n.Store(rand.Int32N(1 << 20))
	return &n
}()

// freePorts finds as many in a row as scripts have that TCP and UDP have free, below those that the kernel gives to
// outgoing connections: a node that is started again must find its own free still. It returns the first. No other node of
// this process gets the same.
func freePorts() (int, error) {
	free := func(port int) bool {
		t, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return false
		}
		defer t.Close()
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return false
		}
		return u.Close() == nil
	}
	const first, count = 20000, 12000
	size := len(portNames)
search:
	for range count / size {
		port := first + size*(int(lastBlock.Add(1))%(count/size))
		for i := range size {
			if !free(port + i) {
				continue search
			}
		}
		return port, nil
	}
	return 0, errors.New("not enough ports are free by TCP and UDP")
}

// leftOnHost names what a node whose data is in dir has left behind, "" for nothing.
func leftOnHost(dir string) string {
	state := engine.StateDir(dir)
	if _, err := os.Stat(state); err == nil {
		return state
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+dir+"/") || strings.Contains(line, state) {
			return "mount " + line
		}
	}
	for _, args := range commandLines() {
		if line := strings.Join(args, " "); strings.Contains(line, state) {
			return "process " + line
		}
	}
	return leftInNetwork(dir)
}

// gone checks that a node that was taken down has left nothing on the host.
func goneCommand(ts *testscript.TestScript, neg bool, args []string) {
	if left := leftOnHost(ts.Getenv("MICRO_DATA")); (left != "") != neg {
		ts.Fatalf("left on the host: %q", left)
	}
}

// node kill|term ends the script's node by a signal, and waits for its end.
func nodeCommand(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"kill": syscall.SIGKILL, "term": syscall.SIGTERM}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: node kill|term")
	}
	b, err := os.ReadFile(filepath.Join(ts.Getenv("MICRO_DATA"), "lock"))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[0]]))
	for deadline := time.Now().Add(patience); alive(pid); time.Sleep(10 * time.Millisecond) { // a poll, with an end
		if time.Now().After(deadline) {
			ts.Fatalf("process %d does not end", pid)
		}
	}
}

// http [-s STATUS] [-H 'K: V']… [-X METHOD] [-d BODY] [-q] HOST[/PATH] asks the script's router, and has the
// answer as its standard output: status, headers, body; of that only the length with -q.
func httpCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, method, body, header, quiet := 200, http.MethodGet, "", http.Header{}, false
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-q":
			quiet, args = true, args[1:]
			continue
		case "-s":
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			want = n
		case "-X":
			method = args[1]
		case "-d":
			body = args[1]
		case "-H":
			k, v, _ := strings.Cut(args[1], ": ")
			header.Add(k, v)
		default:
			ts.Fatalf("unknown flag %s", args[0])
		}
		args = args[2:]
	}
	if len(args) != 1 {
		ts.Fatalf("usage: http [-s STATUS] HOST[/PATH]")
	}
	host, path, _ := strings.Cut(args[0], "/")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:"+ts.Getenv("HTTP")+"/"+path, strings.NewReader(body))
	ts.Check(err)
	req.Host, req.Header = host, header
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		if neg {
			return
		}
		ts.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	fmt.Fprintln(ts.Stdout(), resp.Status)
	ts.Check(resp.Header.Write(ts.Stdout()))
	fmt.Fprintln(ts.Stdout())
	to := io.Discard
	if !quiet {
		to = ts.Stdout()
	}
	n, err := io.Copy(to, resp.Body)
	ts.Check(err)
	if quiet {
		fmt.Fprintf(ts.Stdout(), "body: %d bytes\n", n)
	}
	if (resp.StatusCode == want) == neg {
		ts.Fatalf("%s %s answers %s, want %d", method, args[0], resp.Status, want)
	}
}

// eventually DURATION REGEXP PROGRAM ARGS… runs a program until its output matches. DURATION is about what that takes on a
// machine with nothing else to do: a script waits longer, by patience.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: eventually DURATION REGEXP PROGRAM ARGS…")
	}
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for deadline := time.Now().Add(limit + patience); ; {
		var out bytes.Buffer
		asked := time.Now()
		_ = command(ts, &out, args[2:]...).Run() // what it prints counts
		if want.Match(out.Bytes()) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within %s; last was:\n%s", limit+patience, out.Bytes())
		}
		time.Sleep(max(50*time.Millisecond, time.Since(asked))) // a poll, with an end, which leaves time to others
	}
}

// environment is what a program that the script runs would have.
func environment(ts *testscript.TestScript) (env []string) {
	for _, k := range []string{"PATH", "HOME", "CI", "MICRO_DATA", "MICRO_NAME", "MICRO_HTTP", "MICRO_DNS", "MICRO_SUBNET", "MICRO_CONFIG"} {
		env = append(env, k+"="+ts.Getenv(k))
	}
	return env
}

// app NAME… puts the source of sample apps into the script's folder.
func appCommand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(apps.CopyTo(context.Background(), ts.MkAbs(name), name))
	}
}

// image PRESET… loads images made of Debian packages into the script's node.
func imageCommand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(ts.Exec("micro", "image", "load", imageArchive(ts, name)))
	}
}

// imageArchive returns the path of an archive of an image made of Debian packages.
func imageArchive(ts *testscript.TestScript, preset string) string {
	recipe, ok := debimage.Preset(preset)
	if !ok {
		ts.Fatalf("no image %q", preset)
	}
	archive, err := debimage.Build(context.Background(), recipe, false)
	ts.Check(err)
	return archive
}
