package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/engine"
)

// machine is one of the machines of a script: a network namespace, a data folder and, if the script asked for disks, a
// file system of its own for that.
type machine struct {
	set string // the prefix of the names of all namespaces
	dir string // of the set
	n   int
	env []string
	api *http.Client // of the node's own socket
	web *http.Client // of the node's router
	// slow ends a slow disk, and fast is how that ended.
	slow chan struct{}
	fast chan error
}

func newMachine(set, dir string, n int, env []string) *machine {
	m := &machine{set: set, dir: dir, n: n, env: env}
	m.api = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(m.data(), "micro.sock"))
	}, MaxIdleConnsPerHost: 2}}
	m.web = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return m.dial(ctx, "127.0.0.1:80")
	}, DisableKeepAlives: true}}
	return m
}

func (m *machine) name() cloud.NodeName { return cloud.NodeName("n" + strconv.Itoa(m.n)) }
func (m *machine) data() string         { return filepath.Join(m.dir, strconv.Itoa(m.n)) }
func (m *machine) image() string        { return m.data() + ".disk" }
func (m *machine) space() string        { return m.set + strconv.Itoa(m.n) }
func (m *machine) cable() string        { return "m" + strconv.Itoa(m.n) }

// run runs a program.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// on runs a program on the machine, and returns what it prints.
func (m *machine) on(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(m.dir, "on"), append([]string{strconv.Itoa(m.n)}, args...)...)
	cmd.Env = m.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("on machine %d: %s: %w: %s", m.n, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// plugIn makes the machine's network namespace and connects it with the others.
func (m *machine) plugIn() error {
	for _, line := range []string{
		"netns add " + m.space(),
		"-n " + m.space() + " link set lo up",
		fmt.Sprintf("-n %s link add eth0 type veth peer name %s netns %s0", m.space(), m.cable(), m.set),
		fmt.Sprintf("-n %s0 link set %s master br0 up", m.set, m.cable()),
		fmt.Sprintf("-n %s addr add 10.77.0.%d/24 dev eth0", m.space(), m.n),
		"-n " + m.space() + " link set eth0 up",
	} {
		if err := run("ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) router() string { return m.set + "r" + strconv.Itoa(m.n) }

// hide puts the machine behind a router with NAT, which has an address of the network of the others, or gives that another
// address. The machine's own address is the same as that of every hidden machine. What the router had mapped is forgotten.
func (m *machine) hide(outside string) error {
	_ = exec.Command("ip", "netns", "del", m.router()).Run() // it was not hidden yet
	_ = exec.Command("ip", "-n", m.space(), "link", "del", "eth0").Run()
	for _, line := range []string{
		"netns add " + m.router(),
		"-n " + m.router() + " link set lo up",
		fmt.Sprintf("-n %s link add eth0 type veth peer name %s netns %s0", m.router(), m.cable(), m.set),
		fmt.Sprintf("-n %s0 link set %s master br0 up", m.set, m.cable()),
		fmt.Sprintf("-n %s addr add %s/24 dev eth0", m.router(), outside),
		"-n " + m.router() + " link set eth0 up",
		fmt.Sprintf("-n %s link add eth0 type veth peer name eth1 netns %s", m.space(), m.router()),
		"-n " + m.router() + " addr add 192.168.77.1/24 dev eth1",
		"-n " + m.router() + " link set eth1 up",
		"-n " + m.space() + " addr add 192.168.77.2/24 dev eth0",
		"-n " + m.space() + " link set eth0 up",
		"-n " + m.space() + " route add default via 192.168.77.1",
		"netns exec " + m.router() + " sysctl -qw net.ipv4.ip_forward=1",
		"netns exec " + m.router() + " nft add table ip nat",
		"netns exec " + m.router() + " nft add chain ip nat post { type nat hook postrouting priority srcnat ; }",
		"netns exec " + m.router() + " nft add rule ip nat post oifname eth0 masquerade random",
		"netns exec " + m.router() + " nft add chain ip nat forward { type filter hook forward priority filter ; policy drop ; }",
		"netns exec " + m.router() + " nft add rule ip nat forward iifname eth1 accept",
		"netns exec " + m.router() + " nft add rule ip nat forward ct state established accept",
	} {
		if err := run("ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// pull pulls the machine's cable, or plugs it in.
func (m *machine) pull(out bool) error {
	return run("ip", "-n", m.set+"0", "link", "set", m.cable(), map[bool]string{true: "down", false: "up"}[out])
}

// join connects the machine's cable with a bridge.
func (m *machine) join(bridge string) error {
	return run("ip", "-n", m.set+"0", "link", "set", m.cable(), "master", bridge)
}

// dial connects to an address as the machine sees it.
func (m *machine) dial(ctx context.Context, addr string) (net.Conn, error) {
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	there, err := netns.GetFromName(m.space())
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		return nil, err // the thread ends with its goroutine
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp4", addr)
	if back := netns.Set(own); back != nil {
		return nil, errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return c, err
}

// pid returns the process of the machine's node.
func (m *machine) pid() (int, error) {
	b, err := os.ReadFile(filepath.Join(m.data(), "lock"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// signal sends a signal to the node's process. For SIGKILL it waits for the process's end.
func (m *machine) signal(s syscall.Signal) error {
	pid, err := m.pid()
	if err == nil {
		err = syscall.Kill(pid, s)
	}
	for err == nil && s == syscall.SIGKILL {
		stat, gone := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if gone != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		time.Sleep(5 * time.Millisecond) // a poll: a killed process ends
	}
	return err
}

// up starts the node and waits until it is ready.
func (m *machine) up(ctx context.Context) error {
	_, err := m.on(ctx, "micro", "up", "--detach")
	return err
}

// logTail returns the last lines of the node's log.
func (m *machine) logTail(count int) string {
	b, err := os.ReadFile(filepath.Join(m.data(), "micro.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "")
}

const (
	ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
	dropJournal  = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH: as a power cut does
	freezeDisk   = 0xc0045877 // FIFREEZE
	thawDisk     = 0xc0045878 // FITHAW
)

// diskSize is the size of a machine's disk. Its file is sparse.
const diskSize = 3 << 30

// addDisk gives the machine a file system of its own for its data.
func (m *machine) addDisk() error {
	if err := os.Mkdir(m.data(), 0o711); err != nil {
		return err
	}
	f, err := os.Create(m.image())
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return err
	}
	if err := run("mkfs.ext4", "-q", "-O", "^metadata_csum_seed", "-J", "size=16", m.image()); err != nil {
		return err
	}
	if err := m.mountDisk(); err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(m.data(), "lost+found")), os.Chmod(m.data(), 0o711))
}

func (m *machine) mountDisk() error { return run("mount", "-o", "loop", m.image(), m.data()) }

func (m *machine) ioctlDisk(request uint, value int) error {
	d, err := os.Open(m.data())
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.IoctlSetPointerInt(int(d.Fd()), request, value)
}

// cutPower ends the machine as a power cut does: what was not synced is not on its disk, and nothing is in memory.
func (m *machine) cutPower() error {
	pid, err := m.pid()
	if err != nil {
		return err
	}
	if err := m.ioctlDisk(ext4Shutdown, dropJournal); err != nil {
		return fmt.Errorf("stop the disk of machine %d: %w", m.n, err)
	}
	if err := m.killAll(pid); err != nil {
		return err
	}
	if err := m.unmountDisk(); err != nil {
		return err
	}
	return errors.Join(
		run("ip", "-n", m.set+"0", "link", "del", m.cable()),
		run("ip", "netns", "del", m.space()))
}

// killAll kills the node's process and all others of it, its apps too, and removes what it keeps in memory.
func (m *machine) killAll(pid int) error {
	state := engine.StateDir(m.data())
	ours := func() (all []int) {
		for p, line := range processesOf() {
			if p == pid || strings.Contains(line, state) || inCgroupOf(p, filepath.Base(state)) {
				all = append(all, p)
			}
		}
		return all
	}
	left := ours()
	for began := time.Now(); len(left) > 0; left = ours() {
		if time.Since(began) > patience {
			return fmt.Errorf("processes of machine %d do not end: %v", m.n, left)
		}
		for _, p := range left {
			_ = syscall.Kill(p, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond) // a poll, with an end
	}
	if err := unmountBelow(state); err != nil {
		return err
	}
	return engine.RemoveState(state)
}

func unmountBelow(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, dir+"/") {
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	}
	return nil
}

// unmountDisk unmounts the machine's disk. Kernel threads that still end a container may hold it for a moment.
func (m *machine) unmountDisk() error {
	if err := unmountBelow(m.data()); err != nil {
		return err
	}
	var err error
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) { // a poll, with an end
		if err = unix.Unmount(m.data(), 0); err == nil || errors.Is(err, unix.EINVAL) {
			return nil
		}
	}
	return fmt.Errorf("unmount the disk of machine %d: %w", m.n, err)
}

// restorePower starts the machine again, without its node. The disk is a copy of the one that was cut off: as long as any
// mount namespace of this machine still has that one, it could only be mounted as it is, stopped.
func (m *machine) restorePower() error {
	if err := run("cp", "--sparse=always", m.image(), m.image()+".copy"); err != nil {
		return err
	}
	return errors.Join(os.Rename(m.image()+".copy", m.image()), m.plugIn(), m.mountDisk())
}
