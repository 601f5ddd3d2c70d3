package hostdns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/protoduction/micro/cloud"
)

// machine is a Host in a folder, made from a txtar archive. A file "a -> b" is a symbolic link, and a name that
// ends in "/" is a folder.
type machine struct {
	*Host
	version string   // of systemd; "" if there is no resolvectl
	ran     []string // command lines
	fail    int      // fail the n-th command that is not allowed to fail, counted from 1
}

func newMachine(t *testing.T, version, files string) *machine {
	t.Helper()
	m := &machine{version: version}
	m.Host = &Host{Root: t.TempDir(), OS: "linux", Run: m.run}
	for _, f := range txtar.Parse([]byte(files)).Files {
		name, target, link := strings.Cut(f.Name, " -> ")
		path := filepath.Join(m.Root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case link:
			err = errors.Join(err, os.Symlink(target, path))
		default:
			err = errors.Join(err, os.WriteFile(path, f.Data, 0o640))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) run(_ context.Context, program string, args ...string) (string, error) {
	line := strings.Join(append([]string{program}, args...), " ")
	if line == "resolvectl --version" {
		if m.version == "" {
			return "", os.ErrNotExist
		}
		return "systemd " + m.version + "\n+PAM +AUDIT\n", nil
	}
	m.ran = append(m.ran, line)
	if m.fail--; m.fail == 0 {
		return "no", errors.New("exit status 1")
	}
	link := filepath.Join(m.Root, "sys/class/net")
	if name, ok := strings.CutPrefix(line, "ip link add "); ok { // as the kernel shows it
		name, _, _ = strings.Cut(name, " ")
		return "", os.MkdirAll(filepath.Join(link, name), 0o755)
	}
	if name, ok := strings.CutPrefix(line, "ip link delete "); ok {
		return "", os.Remove(filepath.Join(link, name))
	}
	return "", nil
}

// tree returns the names and contents of everything below the machine's root.
func (m *machine) tree(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(m.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "%s %v", strings.TrimPrefix(path, m.Root), info.Mode())
		switch {
		case d.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&all, " -> %s", target)
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, " %q", text)
		}
		all.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

var (
	at53   = Setup{"micro.test", netip.MustParseAddrPort("127.0.0.1:53")}
	at5354 = Setup{"micro.test", netip.MustParseAddrPort("127.0.0.1:5354")}
)

// The machines of the tests.
const (
	resolvedMachine = `
-- run/systemd/resolve/stub-resolv.conf --
nameserver 127.0.0.53
-- etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf --
-- etc/systemd/system/other.service --
-- run/systemd/system/ --
-- sys/class/net/eth0/ --
`
	networkManagerMachine = `
-- run/NetworkManager/resolv.conf --
nameserver 127.0.0.1
-- etc/resolv.conf -> /run/NetworkManager/resolv.conf --
-- etc/NetworkManager/NetworkManager.conf --
[main]
dns = default
-- usr/lib/NetworkManager/conf.d/10-dns.conf --
[main]
dns=none
-- etc/NetworkManager/conf.d/10-dns.conf --
[keyfile]
dns=nonsense
[main]
# dns=none
dns = dnsmasq
`
	plainMachine = `
-- etc/resolv.conf --
# written by a person
search example.com
nameserver 192.0.2.1
nameserver 192.0.2.2
options edns0`
)

func file(m *machine, name string) string {
	text, err := os.ReadFile(filepath.Join(m.Root, name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

const note53 = "# Made by micro dns install for micro.test at 127.0.0.1:53; micro dns uninstall removes it.\n"

// TestInstall installs on each kind of machine and uninstalls again.
func TestInstall(t *testing.T) {
	for _, tt := range []struct {
		name, os, version, files string
		setup                    Setup
		method                   Method
		path, want, ran          string
	}{
		{
			"resolved 258", "linux", "258 (258.1)", resolvedMachine, at5354, ResolvedDelegate,
			"etc/systemd/dns-delegate.d/micro-micro.test.dns-delegate",
			"# Made by micro dns install for micro.test at 127.0.0.1:5354; micro dns uninstall removes it.\n# Its folder was made with it.\n[Delegate]\nDNS=127.0.0.1:5354\nDomains=~micro.test\n",
			"systemctl reload-or-restart systemd-resolved.service; resolvectl flush-caches",
		},
		{
			"resolved 258 with other delegates", "linux", "260", resolvedMachine + "-- etc/systemd/dns-delegate.d/ --\n", at53, ResolvedDelegate,
			"etc/systemd/dns-delegate.d/micro-micro.test.dns-delegate", note53 + "[Delegate]\nDNS=127.0.0.1:53\nDomains=~micro.test\n",
			"systemctl reload-or-restart systemd-resolved.service; resolvectl flush-caches",
		},
		{
			"resolved 252", "linux", "252 (252.39-1~deb12u1)", resolvedMachine, at5354, ResolvedLink,
			"etc/systemd/system/micro-dns-micro.test.service", strings.ReplaceAll(note53, "1:53", "1:5354") + `[Unit]
Description=Names of micro.test from 127.0.0.1:5354
After=systemd-resolved.service
PartOf=systemd-resolved.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/usr/bin/env ip link add LINK type dummy
ExecStart=-/usr/bin/env ip link add LINK type veth peer name LINKp
ExecStart=/usr/bin/env ip link set LINK up
ExecStart=-/usr/bin/env ip link set LINKp up
ExecStart=/usr/bin/env ip address replace 192.0.2.53/32 dev LINK
ExecStart=/usr/bin/env resolvectl dns LINK 127.0.0.1:5354
ExecStart=/usr/bin/env resolvectl domain LINK ~micro.test
ExecStart=/usr/bin/env resolvectl default-route LINK no
ExecStart=-/usr/bin/env resolvectl dnssec LINK no
ExecStart=-/usr/bin/env resolvectl llmnr LINK no
ExecStart=-/usr/bin/env resolvectl mdns LINK no
ExecStop=-/usr/bin/env ip link delete LINK

[Install]
WantedBy=multi-user.target
`,
			"systemctl daemon-reload; systemctl enable --now micro-dns-micro.test.service; resolvectl flush-caches",
		},
		{
			"resolved without systemd", "linux", "252", strings.Replace(resolvedMachine, "-- run/systemd/system/ --\n", "", 1), at53, ResolvedLink, "", "",
			"ip link add LINK type dummy; ip link add LINK type veth peer name LINKp; ip link set LINK up; ip link set LINKp up; ip address replace 192.0.2.53/32 dev LINK; resolvectl dns LINK 127.0.0.1; " +
				"resolvectl domain LINK ~micro.test; resolvectl default-route LINK no; resolvectl dnssec LINK no; resolvectl llmnr LINK no; resolvectl mdns LINK no; resolvectl flush-caches",
		},
		{
			"NetworkManager", "linux", "", networkManagerMachine, at5354, NetworkManager,
			"etc/NetworkManager/dnsmasq.d/micro-micro.test.conf",
			strings.ReplaceAll(note53, "1:53", "1:5354") + "# Its folder was made with it.\nserver=/micro.test/127.0.0.1#5354\nrebind-domain-ok=/micro.test/\n",
			"nmcli general reload dns-full",
		},
		{
			"plain", "linux", "", plainMachine, at53, ResolvConf, "etc/resolv.conf",
			note53 + "nameserver 127.0.0.1\n# written by a person\nsearch example.com\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n", "",
		},
		{
			"a link to elsewhere", "linux", "", "-- mnt/wsl/resolv.conf --\nnameserver 192.0.2.1\n-- etc/resolv.conf -> ../mnt/wsl/resolv.conf --\n", at53, ResolvConf,
			"mnt/wsl/resolv.conf", note53 + "nameserver 127.0.0.1\nnameserver 192.0.2.1\n", "",
		},
		{"an empty file", "linux", "", "-- etc/resolv.conf --\n", at53, ResolvConf, "etc/resolv.conf", note53 + "nameserver 127.0.0.1\n", ""},
		{"no file", "linux", "", "-- etc/ --\n", at53, ResolvConf, "etc/resolv.conf", note53 + "nameserver 127.0.0.1\n# The file was made with it.\n", ""},
		{
			"macOS", "darwin", "", "-- etc/hosts --\n", Setup{"micro.test", netip.MustParseAddrPort("192.168.64.2:53")}, MacOS, "etc/resolver/micro.test",
			strings.ReplaceAll(note53, "127.0.0.1", "192.168.64.2") + "# Its folder was made with it.\nnameserver 192.168.64.2\nport 53\n", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			m := newMachine(t, tt.version, tt.files)
			m.OS = tt.os
			fill := func(s string) string { return strings.ReplaceAll(s, "LINK", linkName("micro.test")) }
			before := m.tree(t)
			if got := m.Detect(ctx); got != tt.method {
				t.Fatalf("method %s, want %s", got, tt.method)
			}
			steps, err := m.Install(ctx, tt.method, tt.setup)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.tree(t); got != before {
				t.Fatalf("planning has changed the machine:\n%s", got)
			}
			if err := m.Apply(ctx, steps); err != nil {
				t.Fatal(err)
			}
			if tt.path != "" && file(m, tt.path) != fill(tt.want) {
				t.Errorf("%s:\n%s\nwant\n%s", tt.path, file(m, tt.path), fill(tt.want))
			}
			if got := strings.Join(m.ran, "; "); got != fill(tt.ran) {
				t.Errorf("ran %s\nwant %s", got, fill(tt.ran))
			}
			if method, s, err := m.Installed("micro.test"); err != nil || method != tt.method || s.Domain != "micro.test" || tt.path != "" && s != tt.setup {
				t.Errorf("installed: %s %v %v", method, s, err)
			}
			// Install again, and for another server: the new setup must replace the old one.
			if steps, err := m.Install(ctx, tt.method, tt.setup); err != nil || tt.path != "" && len(steps) > 0 {
				t.Errorf("installed again: %v %v", steps, err)
			}
			other := Setup{"micro.test", netip.MustParseAddrPort("127.0.0.9:53")}
			steps, err = m.Install(ctx, tt.method, other)
			if err := errors.Join(err, m.Apply(ctx, steps)); err != nil {
				t.Fatal(err)
			}
			if _, s, err := m.Installed("micro.test"); err != nil || tt.path != "" && s != other {
				t.Errorf("installed for another server: %v %v", s, err)
			}
			steps, err = m.Uninstall("micro.test")
			if err := errors.Join(err, m.Apply(ctx, steps)); err != nil {
				t.Fatal(err)
			}
			if got := m.tree(t); got != before {
				t.Errorf("after install and uninstall:\n%s\nbefore:\n%s", got, before)
			}
			if steps, err := m.Uninstall("micro.test"); err != nil || len(steps) > 0 {
				t.Errorf("uninstall of nothing: %v %v", steps, err)
			}
		})
	}
}

// TestFailure makes each command of an install and an uninstall fail: the machine must be as before.
func TestFailure(t *testing.T) {
	for name, files := range map[string]string{"258": resolvedMachine, "252": resolvedMachine, "": networkManagerMachine} {
		for n := 1; n <= 4; n++ {
			m := newMachine(t, name, files)
			before := m.tree(t)
			steps, err := m.Install(t.Context(), m.Detect(t.Context()), at53)
			if err != nil {
				t.Fatal(err)
			}
			m.fail = n
			if err := m.Apply(t.Context(), steps); err != nil {
				if got := m.tree(t); got != before || cloud.CodeOf(err) != cloud.Unavailable {
					t.Errorf("systemd %q, command %d failed (%v):\n%s\nbefore:\n%s", name, n, err, got, before)
				}
				continue
			}
			m.fail = n
			during := m.tree(t)
			steps, err = m.Uninstall("micro.test")
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Apply(t.Context(), steps); err != nil && m.tree(t) != during {
				t.Errorf("systemd %q, command %d of the uninstall failed (%v):\n%s\nbefore:\n%s", name, n, err, m.tree(t), during)
			}
		}
	}
}

// TestChangedMeanwhile removes our lines from files that others have changed since.
func TestChangedMeanwhile(t *testing.T) {
	m := newMachine(t, "", plainMachine)
	steps, err := m.Install(t.Context(), ResolvConf, at53)
	if err := errors.Join(err, m.Apply(t.Context(), steps)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.Root, "etc/resolv.conf")
	changed := "# one more\nnameserver 192.0.2.9\n" + strings.Replace(file(m, "etc/resolv.conf"), "192.0.2.2", "192.0.2.3", 1)
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	steps, err = m.Uninstall("micro.test")
	if err := errors.Join(err, m.Apply(t.Context(), steps)); err != nil {
		t.Fatal(err)
	}
	want := "# one more\nnameserver 192.0.2.9\n# written by a person\nsearch example.com\nnameserver 192.0.2.1\nnameserver 192.0.2.3\noptions edns0\n"
	if got := file(m, "etc/resolv.conf"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestMethodChanges checks that an install removes a setup made by another method, and leaves other domains alone.
func TestMethodChanges(t *testing.T) {
	m := newMachine(t, "252", resolvedMachine)
	install := func(s Setup) {
		t.Helper()
		steps, err := m.Install(t.Context(), m.Detect(t.Context()), s)
		if err := errors.Join(err, m.Apply(t.Context(), steps)); err != nil {
			t.Fatal(err)
		}
	}
	second := Setup{"qa.test", netip.MustParseAddrPort("127.0.0.2:53")}
	before := m.tree(t)
	install(at53)
	install(second)
	m.version = "258"
	install(at53)
	if m.exists(unitPath("micro.test")) || !m.exists(unitPath("qa.test")) || !m.exists(delegatePath("micro.test")) {
		t.Errorf("after the upgrade:\n%s", m.tree(t))
	}
	for _, d := range []cloud.Domain{"micro.test", "qa.test"} {
		steps, err := m.Uninstall(d)
		if err := errors.Join(err, m.Apply(t.Context(), steps)); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.tree(t); got != before {
		t.Errorf("at the end:\n%s\nbefore:\n%s", got, before)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		what, version, files string
		method               Method
		setup                Setup
		code                 cloud.Code
		says                 string
	}{
		{"a file of others", "258", resolvedMachine + "-- etc/systemd/dns-delegate.d/micro-micro.test.dns-delegate --\n[Delegate]\n", ResolvedDelegate, at53, cloud.Conflict, "was not made by micro"},
		{"a port in resolv.conf", "", plainMachine, ResolvConf, at5354, cloud.Conflict, "supports only port 53"},
		{"resolved's resolv.conf", "", resolvedMachine, ResolvConf, at53, cloud.Conflict, "belongs to systemd-resolved"},
		{"a port for an old resolved", "245", resolvedMachine, ResolvedLink, at5354, cloud.Conflict, "only servers at port 53"},
		{"no domain", "258", resolvedMachine, ResolvedDelegate, Setup{"test", at53.Server}, cloud.Invalid, "two labels"},
		{"a path as a domain", "258", resolvedMachine, ResolvedDelegate, Setup{"../../x.test", at53.Server}, cloud.Invalid, "host"},
		{"no server", "258", resolvedMachine, ResolvedDelegate, Setup{"micro.test", netip.AddrPort{}}, cloud.Invalid, "needs an address and a port"},
		{"every address", "258", resolvedMachine, ResolvedDelegate, Setup{"micro.test", netip.MustParseAddrPort("0.0.0.0:53")}, cloud.Invalid, "needs an address and a port"},
	} {
		m := newMachine(t, tt.version, tt.files)
		before := m.tree(t)
		_, err := m.Install(t.Context(), tt.method, tt.setup)
		if cloud.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) || m.tree(t) != before {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	if _, err := ParseMethod("bind"); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(cloud.HintOf(err), "resolved-link") {
		t.Errorf("unknown method: %v", err)
	}
}
