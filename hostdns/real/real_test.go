package real

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/hostdns"
)

// listEtc lists everything in /etc with checksums, and the machine's network links.
func listEtc(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", "cd /etc; find . -printf '%p %y %m %u %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum; ls /sys/class/net").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// install sets the machine up by the detected method, and returns a function that uninstalls it.
func install(t *testing.T, want hostdns.Method, s hostdns.Setup) (uninstall func()) {
	t.Helper()
	h, ctx := hostdns.ThisMachine(), context.Background()
	before := listEtc(t)
	if got := h.Detect(ctx); got != want {
		t.Fatalf("method %s, want %s", got, want)
	}
	steps, err := h.Install(ctx, want, s)
	if err := errors.Join(err, h.Apply(ctx, steps)); err != nil {
		t.Fatal(err)
	}
	if m, _, err := h.Installed(s.Domain); m != want || err != nil {
		t.Errorf("installed: %s %v", m, err)
	}
	return func() {
		t.Helper()
		steps, err := h.Uninstall(s.Domain)
		if err := errors.Join(err, h.Apply(ctx, steps)); err != nil {
			t.Fatal(err)
		}
		if got := listEtc(t); got != before {
			t.Errorf("after install and uninstall:\n%s\nbefore:\n%s", got, before)
		}
	}
}

func setup(server string) hostdns.Setup {
	return hostdns.Setup{Domain: "micro.test", Server: netip.MustParseAddrPort(server)}
}

func TestResolved(t *testing.T) {
	files := os.Getenv(insideEnv)
	link(t, "../run/systemd/resolve/stub-resolv.conf")
	start(t, "dbus-daemon", "--system", "--nofork", "--nopidfile")
	eventually(t, "the bus", func() bool { _, err := os.Stat("/run/dbus/system_bus_socket"); return err == nil })
	if err := exec.Command("install", "-d", "-o", "systemd-resolve", "-g", "systemd-resolve", "/run/systemd/resolve").Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll("/run/systemd/resolve") })
	start(t, filepath.Join(files, "lib/systemd/systemd-resolved"))
	eventually(t, "resolved", func() bool { return exec.Command("resolvectl", "status").Run() == nil })

	n := startNode(t, "127.0.0.1:5399")
	uninstall := install(t, hostdns.ResolvedLink, setup("127.0.0.1:5399"))
	eventually(t, "shop.micro.test is known", func() bool { return resolves("shop.micro.test") })
	if resolves("www.example.com") || n.foreign() != 0 {
		t.Errorf("names outside: the node was asked %d times", n.foreign())
	}
	for _, hop := range hostdns.Trace(t.Context(), hostdns.Target{Setup: setup("127.0.0.1:5399"), HTTP: 80}) {
		if !hop.OK {
			t.Errorf("%s: %s", hop.Name, hop.Text)
		}
	}
	uninstall()
	if resolves("blog.micro.test") {
		t.Error("blog.micro.test is known after the uninstall")
	}
}

// link makes /etc/resolv.conf a symbolic link until the test ends.
func link(t *testing.T, target string) {
	t.Helper()
	_ = os.Remove("/etc/resolv.conf")
	if err := os.Symlink(target, "/etc/resolv.conf"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove("/etc/resolv.conf") })
}

// TestNetworkManager runs dnsmasq with NetworkManager's folder, as NetworkManager does.
func TestNetworkManager(t *testing.T) {
	bin := t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(bin, "nmcli"): "#!/bin/sh\nexit 0\n", "/etc/NetworkManager/NetworkManager.conf": "[main]\ndns=dnsmasq\n", "/run/NetworkManager/resolv.conf": "nameserver 127.0.0.1\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.RemoveAll("/run/NetworkManager") })
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	link(t, "/run/NetworkManager/resolv.conf")
	n := startNode(t, "127.0.0.1:5399")
	uninstall := install(t, hostdns.NetworkManager, setup("127.0.0.1:5399"))
	start(t, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--log-queries", "--listen-address=127.0.0.1", "--bind-interfaces",
		"--stop-dns-rebind", "--conf-dir=/etc/NetworkManager/dnsmasq.d")
	eventually(t, "shop.micro.test is known", func() bool { return resolves("shop.micro.test") })
	if resolves("www.example.com") || n.foreign() != 0 {
		t.Errorf("names outside: the node was asked %d times", n.foreign())
	}
	uninstall()
}

// TestResolvConf changes a normal file, and a mounted one as in a container, which can't be renamed over.
func TestResolvConf(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		const text = "search example.com\nnameserver 127.0.0.99"
		if err := os.WriteFile("/etc/resolv.conf", []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if mounted {
			from := filepath.Join(t.TempDir(), "resolv.conf")
			if err := errors.Join(os.WriteFile(from, []byte(text), 0o644), unix.Mount(from, "/etc/resolv.conf", "", unix.MS_BIND, "")); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(map[bool]string{false: "a file", true: "a mount"}[mounted], func(t *testing.T) {
			startNode(t, "127.0.0.1:53")
			uninstall := install(t, hostdns.ResolvConf, setup("127.0.0.1:53"))
			if !resolves("shop.micro.test") {
				b, _ := os.ReadFile("/etc/resolv.conf")
				t.Errorf("shop.micro.test is not known: %s", b)
			}
			uninstall()
			if b, err := os.ReadFile("/etc/resolv.conf"); string(b) != text {
				t.Errorf("resolv.conf: %q %v", b, err)
			}
		})
		if mounted {
			if err := unix.Unmount("/etc/resolv.conf", 0); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestTrace checks that Trace reports the broken hop.
func TestTrace(t *testing.T) {
	if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	walk := func(want ...string) {
		t.Helper()
		// Go's resolver reads resolv.conf again every 5 s.
		eventually(t, strings.Join(want, ", ")+" broken", func() bool {
			var broken []string
			for _, hop := range hostdns.Trace(t.Context(), hostdns.Target{Setup: setup("127.0.0.1:53"), HTTP: 80}) {
				if !hop.OK {
					broken = append(broken, hop.Name)
				}
				if hop.Text == "" || hop.Hint == "" && !hop.OK {
					t.Errorf("hop %v", hop)
				}
			}
			return slices.Equal(broken, want)
		})
	}
	walk("resolver", "dns", "router")
	t.Run("node", func(t *testing.T) {
		startNode(t, "127.0.0.1:53")
		walk()
		if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver 127.0.0.99\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		walk("resolver")
	})
}
