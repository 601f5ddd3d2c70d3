package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// start runs this program as the build process, in new process and mount namespaces. The process waits until its limits
// are set.
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
	defer l.Close() // our copy: so a dial fails after the process has ended
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
	// The process fetches the URLs of ADD, so it has the same firewall as its steps.
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
		return nil, errors.Join(err, p.removeNetwork())
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

// processNetwork returns the path of the network namespace for the process; "" if it gets a new, empty one.
func (b *Builder) processNetwork(p *process) (string, error) {
	p.removeNetwork = func() error { return nil }
	if b.cfg.Sandbox == nil {
		p.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	netns, _, remove, err := b.cfg.Sandbox(ctx, sandboxID())
	if err != nil {
		return "", fmt.Errorf("make its network: %w", err)
	}
	p.removeNetwork = remove
	return netns, nil
}

// startIn starts a program in a network namespace; "" is the namespace of this process. A new process inherits the
// namespace of the thread that starts it, so one thread enters the namespace and returns.
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
		// A thread that can't return stays locked, and ends with this goroutine.
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
		Snapshotter: b.cfg.Snapshotter, Snapshots: b.cfg.Snapshots, Runc: b.cfg.Runc, Cgroup: b.cfg.Cgroup + stepsGroup,
		Resolvers: b.cfg.Resolvers, CertsDir: b.cfg.CertsDir, DockerConfig: b.cfg.DockerConfig,
		CacheKeep: b.cfg.Limits.Cache * 2 / 5, CacheMax: b.cfg.Limits.Cache,
		Parallel: max(2, int(b.cfg.Limits.CPU/1000)), ImageName: b.cfg.ImageName,
	}
	if b.sandboxes != nil {
		s.Sandbox = b.sandboxes.Addr().String()
	}
	return s
}

// environment returns the variables for reaching registries, and none that may be a secret of the node.
func environment(tmp string) []string {
	// BuildKit would run unpigz if the machine had it; builds must not depend on the machine's programs.
	env := []string{"TMPDIR=" + tmp, "GOMEMLIMIT=1GiB", "MOBY_DISABLE_PIGZ=1", "CONTAINERD_DISABLE_PIGZ=1"}
	for _, k := range []string{"PATH", "HOME", "DOCKER_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}
