// Package real tests hostdns with real resolvers in new namespaces: systemd-resolved, dnsmasq as NetworkManager
// runs it, and the C library's resolv.conf. It needs root and the programs that scripts/deps.sh installs.
package real

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

const insideEnv = "MICRO_TEST_HOSTDNS" // this process has the namespaces

// TestMain runs the tests with copies of /etc and /run, and only a loopback interface.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) == "" {
		dir, err := resolvedFiles()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), insideEnv+"="+dir, "PATH="+dir+"/usr/bin:"+os.Getenv("PATH")+":/usr/sbin:/sbin")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		err = cmd.Run()
		if _, failed := errors.AsType[*exec.ExitError](err); !failed && err != nil {
			fmt.Fprintln(os.Stderr, "cannot make namespaces (run as root):", err)
		}
		if err != nil {
			os.Exit(1)
		}
		return
	}
	if err := makeMachine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// resolvedFiles returns a folder with the files of Debian's package systemd-resolved. It does not install the
// package, which would become this machine's resolver.
func resolvedFiles() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "micro-test", "systemd-resolved")
	if _, err := os.Stat(filepath.Join(dir, "usr/bin/resolvectl")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	shell := "apt-get download -qq systemd-resolved || { apt-get update -qq && apt-get download -qq systemd-resolved; }; dpkg-deb -x *.deb x"
	cmd := exec.Command("sh", "-ec", shell)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("download systemd-resolved: %w: %s", err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "x"), dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

func makeMachine() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("run", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	// The package would add resolved's user and its permissions on the bus.
	shell := `mount -t sysfs sysfs /sys
ip link set lo up
ip address add 192.0.2.2/32 dev lo # C libraries ask for nothing where there is loopback alone
cp -a /etc /run/etc
rm -f /run/etc/resolv.conf
grep -q ^systemd-resolve: /run/etc/passwd || echo systemd-resolve:x:990:990::/:/usr/sbin/nologin >>/run/etc/passwd
grep -q ^systemd-resolve: /run/etc/group || echo systemd-resolve:x:990: >>/run/etc/group
mkdir -p /run/etc/dbus-1/system.d /run/dbus
cp "$` + insideEnv + `"/usr/share/dbus-1/system.d/org.freedesktop.resolve1.conf /run/etc/dbus-1/system.d/
echo 127.0.0.1 localhost >/run/etc/hosts
echo hosts: files dns >/run/etc/nsswitch.conf
mount --bind /run/etc /etc`
	if out, err := exec.Command("sh", "-ec", shell).CombinedOutput(); err != nil {
		return fmt.Errorf("make a machine: %w: %s", err, out)
	}
	return nil
}

// start runs a daemon until the test ends.
func start(t *testing.T, program string, args ...string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; scripts/deps.sh test installs it", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", program, out.String())
		}
	})
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}

// node is a fake node for micro.test: DNS at an address, and a router at 127.0.0.1:80.
type node struct {
	mu    sync.Mutex
	asked map[string]int
}

func startNode(t *testing.T, addr string) *node {
	t.Helper()
	n := &node{asked: map[string]int{}}
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(ready) }}
	go func() { _ = server.ActivateAndServe() }()
	<-ready
	listener, err := net.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	router := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Micro-Error", "unknown_route")
		w.WriteHeader(http.StatusNotFound)
	})}
	go func() { _ = router.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Shutdown()
		_ = router.Close()
	})
	return n
}

// ServeDNS implements dns.Handler.
func (n *node) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	name := strings.ToLower(m.Question[0].Name)
	n.mu.Lock()
	n.asked[name]++
	n.mu.Unlock()
	r := new(dns.Msg).SetReply(m)
	switch {
	case dns.IsSubDomain("micro.test.", name) && m.Question[0].Qtype == dns.TypeA:
		rr, _ := dns.NewRR(name + " 5 IN A 127.0.0.1")
		r.Answer = []dns.RR{rr}
	case !dns.IsSubDomain("micro.test.", name):
		r.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(r)
}

// foreign returns how often the node was asked for names outside its domain.
func (n *node) foreign() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, times := range n.asked {
		if !dns.IsSubDomain("micro.test.", name) {
			count += times
		}
	}
	return count
}

// resolves reports whether the C library resolves a name of the node.
func resolves(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "getent", "ahostsv4", name).Output()
	return strings.HasPrefix(string(out), "127.0.0.1 ")
}
