package containers

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/vishvananda/netlink"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/hosttest"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/images/imagestest"
)

// rig is a node with an image.
type rig struct {
	*node
	t     testing.TB
	dir   string
	image string
	next  int
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "run")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir}
	r.open()
	t.Cleanup(r.clean)
	r.image = r.load(nil)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	n, err := openNode(r.t.Context(), r.dir, hosttest.Logger(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	r.node = n
}

// clean removes all containers and checks that nothing of the node is left on the host.
func (r *rig) clean() {
	ctx, cancel := r.detached(r.t.Context())
	defer cancel()
	all, err := r.List(ctx)
	if err != nil {
		r.t.Error(err)
	}
	for _, c := range all {
		if err := r.Driver.Remove(ctx, c.ID); err != nil {
			r.t.Error(err)
		}
	}
	r.bare()
	for _, err := range []error{
		r.Driver.Destroy(ctx), r.engine.Close(ctx), engine.RemoveState(engine.StateDir(r.dir)), os.RemoveAll(r.dir),
	} {
		if err != nil {
			r.t.Error(err)
		}
	}
}

// bare checks that no container has left a trace.
func (r *rig) bare() {
	r.t.Helper()
	state := engine.StateDir(r.dir)
	for _, glob := range []string{
		filepath.Join(state, "ns/*"), filepath.Join(state, "i/*"), filepath.Join(state, "runc/*/*"),
		filepath.Join(state, "io.containerd.runtime.v2.task/*/*"),
		"/sys/fs/cgroup/*" + cgroupPath(state, "*/cgroup.procs"), "/sys/fs/cgroup" + cgroupPath(state, "*/cgroup.procs"),
	} {
		var left []string
		for range 1000 { // the kernel cleans up with a delay
			if left, _ = filepath.Glob(glob); len(left) == 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if len(left) > 0 {
			r.t.Errorf("left: %s", left)
		}
	}
	links, err := netlink.LinkList()
	if err != nil || len(links) != 1 {
		r.t.Errorf("left, beside lo: %v, %v", links, err)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		r.t.Error(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, state+"/") {
			r.t.Errorf("left mounted: %s", line)
		}
	}
	if left := processesOf(state); len(left) > 0 {
		r.t.Errorf("left running: %s", left)
	}
}

// processesOf returns the command lines of shims and runcs with this state folder.
func processesOf(state string) []string {
	var left []string
	for range 1000 {
		left = nil
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range all {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(state)) {
				left = append(left, f+": "+strings.ReplaceAll(string(b), "\x00", " "))
			}
		}
		if len(left) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return left
}

// load imports an image with the probe and returns its digest.
func (r *rig) load(change func(*v1.Config)) string {
	r.t.Helper()
	probe, err := os.ReadFile(helpers + "/bin/probe")
	if err != nil {
		r.t.Fatal(err)
	}
	img := imagestest.Image(r.t, "amd64", map[string]string{
		"probe":      string(probe),
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
		"etc/group":  "root:x:0:\napp:x:1000:\nextra:x:1234:app\n",
	})
	c, err := img.ConfigFile()
	if err != nil {
		r.t.Fatal(err)
	}
	c = c.DeepCopy()
	c.Config = v1.Config{Entrypoint: []string{"/probe"}, Cmd: []string{"serve"}, Env: []string{"A=image", "B=image"}}
	if change != nil {
		change(&c.Config)
	}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		r.t.Fatal(err)
	}
	s, err := images.Open(r.t.Context(), images.Config{Engine: r.engine})
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := s.Import(r.t.Context(), bytes.NewReader(imagestest.DockerSave(r.t, map[string]v1.Image{"probe:1": img})), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return got.Digest
}

// container returns a container with a new ID that runs the probe with args.
func (r *rig) container(args ...string) runtime.Container {
	r.next++
	id := fmt.Sprintf("t%d", r.next)
	c := runtime.Container{
		ID: id, Labels: map[string]string{"app": "shop"}, Image: r.image, Shim: "group",
		Memory: 64 << 20, CPU: 1000, Pids: 64, Tenant: 3, Log: filepath.Join(r.dir, "logs", id),
	}
	if len(args) > 0 {
		c.Args = append([]string{"/probe"}, args...)
	}
	return c
}

func (r *rig) start(c runtime.Container) runtime.Running {
	r.t.Helper()
	running, err := r.Start(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return running
}

// run starts a container, waits for its end and returns its output.
func (r *rig) run(c runtime.Container) (string, runtime.Exit) {
	r.t.Helper()
	r.start(c)
	x, err := r.Wait(r.t.Context(), c.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.printed(c), x
}

// printed removes an ended container and returns its output. It removes the container first, because until then the shim
// may still be writing.
func (r *rig) printed(c runtime.Container) string {
	r.t.Helper()
	if err := r.Driver.Remove(r.t.Context(), c.ID); err != nil {
		r.t.Fatal(err)
	}
	b, err := os.ReadFile(c.Log)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// ask connects to a container until it answers.
func (r *rig) ask(ip netip.Addr, port uint16) string {
	r.t.Helper()
	var err error
	for range 5000 {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", netip.AddrPortFrom(ip, port).String(), time.Second); err == nil {
			defer c.Close()
			b, err := io.ReadAll(c)
			if err != nil {
				r.t.Fatal(err)
			}
			return string(b)
		}
		time.Sleep(2 * time.Millisecond)
	}
	r.t.Fatal(err)
	return ""
}

func TestLife(t *testing.T) {
	r := newRig(t)
	c := r.container()
	running := r.start(c)
	if got := r.ask(running.IP, 80); !strings.HasPrefix(got, "ok "+r.net.Gateway().String()) {
		t.Errorf("answer: %q", got)
	}
	if running.PID == 0 || running.Labels["app"] != "shop" || time.Since(running.Started) > time.Minute {
		t.Errorf("running: %+v", running)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 1 || all[0].PID != running.PID || all[0].Exit != nil || len(all[0].Labels) != 1 {
		t.Errorf("list: %+v, %v", all, err)
	}
	if err := r.Stop(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	x, err := r.Wait(t.Context(), c.ID)
	if err != nil || x.Code != 0 || x.OOM || x.Lost {
		t.Errorf("exit: %+v, %v", x, err)
	}
	if got := r.printed(c); got != "serving\nstopping\n" {
		t.Errorf("log: %q", got)
	}
	if err := r.Driver.Remove(t.Context(), c.ID); err != nil {
		t.Error("again:", err)
	}
}

func owner(fi os.FileInfo) uint32 { return fi.Sys().(*syscall.Stat_t).Uid }

// TestStopSignal checks that Stop uses the image's STOPSIGNAL, as Postgres (SIGINT) and nginx (SIGQUIT) need.
func TestStopSignal(t *testing.T) {
	r := newRig(t)
	c := r.container()
	c.Image = r.load(func(c *v1.Config) { c.StopSignal = "USR1" })
	r.ask(r.start(c).IP, 80)
	if err := r.Stop(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 0 {
		t.Errorf("exit: %+v, %v", x, err)
	}
	if got := r.printed(c); got != "serving\nuser defined signal 1\nstopping\n" {
		t.Errorf("log: %q", got)
	}
	for name, want := range map[string]syscall.Signal{
		"": 15, "SIGINT": 2, "INT": 2, "3": 3, "SIGRTMIN+3": 37, "SIGNONE": 15, "-1": 15, "999": 15,
	} {
		if got := stopSignal(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}
