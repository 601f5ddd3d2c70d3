package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// stopGrace is how long the build process may take to close its files before it is killed.
const stopGrace = 5 * time.Second

// process is the build process as the node sees it.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer // closing it asks the process to end
	socket string
	cgroup string
	done   chan struct{} // closed when it has ended

	removeNetwork func() error

	mu   sync.Mutex
	said []string // its last lines, for when it crashes
}

// start runs this program again as the build process, in process and mount namespaces of its own, and
// lets it go on only when it is within its limits.
func (b *Builder) start() (_ *process, err error) {
	containerd, err := b.cfg.Containerd()
	if err != nil {
		return nil, err
	}
	if err := sweepCgroup(b.cfg.Cgroup); err != nil {
		return nil, err
	}
	tmp := filepath.Join(b.cfg.Root, "tmp")
	if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o700)); err != nil {
		return nil, err
	}
	p := &process{socket: filepath.Join(b.cfg.State, "build.sock"), cgroup: b.cfg.Cgroup, done: make(chan struct{})}
	l, err := listenPrivate(p.socket)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close() // ours: with the process's copy gone too, a dial fails
	fd, err := l.File()
	if err != nil {
		return nil, err
	}
	defer fd.Close()

	p.cmd = exec.Command(b.cfg.Executable, ChildArg)
	p.cmd.ExtraFiles = []*os.File{fd} // ListenerFD
	p.cmd.Env = environment(tmp)
	p.cmd.Dir = "/"
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	// ADD fetches from wherever a Dockerfile says: the process stands behind the same wall as its steps.
	netns, err := b.processNetwork(p)
	if err != nil {
		return nil, err
	}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := startIn(netns, p.cmd); err != nil {
		p.removeNetwork()
		return nil, err
	}
	go b.wait(p, stderr)
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	if err := makeCgroups(b.cfg.Cgroup, p.cmd.Process.Pid, b.cfg.Limits); err != nil {
		return nil, err
	}
	score := fmt.Sprintf("/proc/%d/oom_score_adj", p.cmd.Process.Pid)
	if err := os.WriteFile(score, []byte(strconv.Itoa(OOMScore)), 0); err != nil {
		return nil, fmt.Errorf("set its oom_score_adj: %w", err)
	}
	if err := json.NewEncoder(stdin).Encode(b.settings(containerd)); err != nil {
		return nil, fmt.Errorf("hand over the settings: %w", err)
	}
	b.log.Info("build process started", "pid", p.cmd.Process.Pid)
	return p, nil
}

// processNetwork returns the path of the network namespace for the process, "" where it gets one of its
// own with nothing in it.
func (b *Builder) processNetwork(p *process) (string, error) {
	p.removeNetwork = func() error { return nil }
	if b.cfg.Sandbox == nil {
		p.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	netns, remove, err := b.cfg.Sandbox(ctx, sandboxID())
	if err != nil {
		return "", fmt.Errorf("make its network: %w", err)
	}
	p.removeNetwork = remove
	return netns, nil
}

// startIn starts a program in a network namespace, "" being this process's own. A child is born into
// that of the thread which makes it, so one thread goes there and comes back.
func startIn(netns string, cmd *exec.Cmd) error {
	if netns == "" {
		return cmd.Start()
	}
	there, err := os.Open(netns)
	if err != nil {
		return err
	}
	defer there.Close()
	result := make(chan error)
	go func() {
		goruntime.LockOSThread()
		back, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			defer back.Close()
			err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			goruntime.UnlockOSThread()
			result <- fmt.Errorf("enter network namespace %s: %w", netns, err)
			return
		}
		err = cmd.Start()
		// A thread that can't come back stays locked, and ends with this goroutine.
		if unix.Setns(int(back.Fd()), unix.CLONE_NEWNET) == nil {
			goruntime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

func (b *Builder) settings(containerd string) Settings {
	s := Settings{
		Root: filepath.Join(b.cfg.Root, "buildkit"), Containerd: containerd, Namespace: b.cfg.Namespace,
		Snapshotter: b.cfg.Snapshotter, Runc: b.cfg.Runc, Cgroup: b.cfg.Cgroup + stepsGroup,
		Resolvers: b.cfg.Resolvers, CertsDir: b.cfg.CertsDir, DockerConfig: b.cfg.DockerConfig,
		CacheKeep: b.cfg.Limits.Cache * 2 / 5, CacheMax: b.cfg.Limits.Cache,
		Parallel: max(2, int(b.cfg.Limits.CPU/1000)), ImageName: b.cfg.ImageName,
	}
	if b.sandboxes != nil {
		s.Sandbox = b.sandboxes.Addr().String()
	}
	return s
}

// environment passes on what says how to reach registries, and nothing that may be a secret of the node's.
func environment(tmp string) []string {
	env := []string{"TMPDIR=" + tmp, "GOMEMLIMIT=1GiB"}
	for _, k := range []string{"PATH", "HOME", "DOCKER_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// wait reads what the process says until it has ended, and then sweeps up after it.
func (b *Builder) wait(p *process, stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.log.Debug("build process", "says", lines.Text())
		p.mu.Lock()
		if p.said = append(p.said, lines.Text()); len(p.said) > 20 {
			p.said = p.said[1:]
		}
		p.mu.Unlock()
	}
	io.Copy(io.Discard, stderr) // a line beyond the scanner's limit
	p.cmd.Wait()                // how it ended is in cmd.ProcessState
	if err := p.removeNetwork(); err != nil {
		b.log.Error("remove the build process's network", "err", err)
	}
	if err := sweepCgroup(p.cgroup); err != nil {
		b.log.Error("sweep up after the build process", "err", err)
	}
	b.log.Info("build process ended", "pid", p.cmd.Process.Pid, "state", p.cmd.ProcessState.String())
	close(p.done)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the process and returns when it has gone.
func (p *process) stop() {
	p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// ask hands a request to the process and follows it to its end.
func (p *process) ask(ctx context.Context, r Request, report func(runtime.Progress)) (Event, error) {
	conn, err := net.Dial("unix", p.socket)
	if err != nil {
		return Event{}, p.lost(ctx)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Event{}, p.lost(ctx)
	}
	answers := json.NewDecoder(conn)
	for {
		var e Event
		if err := answers.Decode(&e); err != nil {
			return Event{}, p.lost(ctx)
		}
		switch {
		case e.Failure != nil:
			return Event{}, e.Failure.err()
		case e.Done:
			return e, nil
		case e.Progress != nil && report != nil:
			report(*e.Progress)
		}
	}
}

// lost says why the process answers no more.
func (p *process) lost(ctx context.Context) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		return cloud.Errorf(cloud.Unavailable, "build: the build process does not answer").WithHint("push again")
	}
	p.mu.Lock()
	said := strings.Join(p.said, "\n")
	p.mu.Unlock()
	msg := "build: the build process ended: " + p.cmd.ProcessState.String()
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return cloud.Errorf(cloud.DeployFailed, "%s; it was killed, or ran out of memory", msg).WithHint("push again")
	}
	if said != "" {
		msg += "\n" + said
	}
	return cloud.Errorf(cloud.DeployFailed, "%s", msg).WithHint("push again")
}

func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	var known *cloud.Error
	if errors.As(cause, &known) {
		return known
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return cloud.Errorf(cloud.DeployFailed, "build: out of time: %w", cause)
	}
	return cloud.Errorf(cloud.Interrupted, "build: given up: %w", cause)
}
