package resolvers

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// output runs a program and returns its output, whatever its exit code. It fails if the program is missing.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("%v; scripts/deps.sh test installs it", err)
	}
	return string(out)
}

// TestDig sends unusual EDNS queries, each of which has one right answer.
func TestDig(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"shop.micro.test", "NOERROR 1"},
		{"+noedns shop.micro.test", "NOERROR 1"},
		{"+bufsize=0 shop.micro.test", "NOERROR 1"},
		{"+bufsize=511 shop.micro.test", "NOERROR 1"},
		{"+bufsize=65535 shop.micro.test", "NOERROR 1"},
		{"+dnssec shop.micro.test", "NOERROR 1"},
		{"+cdflag +adflag +noaaflag shop.micro.test", "NOERROR 1"},
		{"+norecurse shop.micro.test", "NOERROR 1"},
		{"+nsid shop.micro.test", "NOERROR 1"},
		{"+subnet=192.0.2.0/24 shop.micro.test", "NOERROR 1"},
		{"+subnet=0/0 www.example.com", "NOERROR 1"},
		{"+cookie shop.micro.test", "NOERROR 1"},
		{"+cookie=0123456789abcdef0123456789abcdef shop.micro.test", "NOERROR 1"},
		{"+nocookie shop.micro.test", "NOERROR 1"},
		{"+padding=468 shop.micro.test", "NOERROR 1"},
		{"+keepalive +tcp shop.micro.test", "NOERROR 1"},
		{"+expire shop.micro.test", "NOERROR 1"},
		{"+ednsopt=65001:deadbeef shop.micro.test", "NOERROR 1"},
		{"+ednsopt=10:00 +nocookie shop.micro.test", "FORMERR 0"}, // a cookie of one byte
		{"+ednsflags=0xffff shop.micro.test", "NOERROR 1"},
		{"+edns=1 +noednsnegotiation shop.micro.test", "BADVERS 0"},
		{"+edns=1 +ednsnegotiation shop.micro.test", "NOERROR 1"},
		{"+edns=255 +noednsnegotiation nope.micro.test", "BADVERS 0"},
		{"+edns=1 +noednsnegotiation www.example.com", "BADVERS 0"},
		{"+opcode=notify shop.micro.test", "NOTIMP 0"},
		{"+opcode=update micro.test", "NOTIMP 0"},
		{"+opcode=15 shop.micro.test", "NOTIMP 0"},
		{"+header-only +nocookie", "FORMERR 0"},
		{"+header-only +cookie", "NOERROR 0"},
		{"+zflag shop.micro.test", "NOERROR 1"},
		{"-c CH version.bind TXT", "REFUSED 0"},
		{"-c ANY shop.micro.test", "REFUSED 0"},
		{"micro.test AXFR +onesoa", "REFUSED"},
		{"shop.micro.test ANY +notcp", "NOERROR 1"},
		{"shop.micro.test TYPE65280", "NOERROR 0"},
		{"shop.micro.test DS", "NOERROR 0"},
		{"nope.micro.test", "NXDOMAIN 0"},
		{"www.example.com", "NOERROR 1"},
		{"www.example.com +dnssec", "NOERROR 1"},
		{"www.example.com +edns=0 +bufsize=512", "NOERROR 1"},
		{"many.example.com", "NOERROR 35"},
		{"many.example.com +noedns", "NOERROR 35"}, // by TCP
		{"many.example.com +noedns +ignore", "NOERROR 29"},
		{"rebind.example.com", "NOERROR 0"},
		{"-x 10.77.0.5", "NOERROR 1"},
		{"-x 10.77.9.9", "NXDOMAIN 0"},
		{"-x 127.0.0.1", "NOERROR 1"},
		{"-x ::1", "NOERROR 1"},
		{"vm1.c.proj.internal", "NOERROR 1"},
	} {
		for _, network := range []string{"+notcp", "+tcp"} {
			if network == "+tcp" && (strings.Contains(tt.args, "+ignore") || strings.Contains(tt.args, "+notcp")) {
				continue
			}
			args := append([]string{"@" + gateway, "-b", instance, "+tries=1", "+time=5", network}, strings.Fields(tt.args)...)
			out := output(t, "dig", args...)
			got := ""
			for line := range strings.Lines(out) {
				if strings.Contains(line, "status: ") {
					got = field(line, "status: ", ",")
				}
				if strings.HasPrefix(line, ";; flags: ") {
					got += " " + field(line, "ANSWER: ", ",")
				}
			}
			if strings.Contains(out, "Transfer failed") {
				got = "REFUSED"
			}
			if got != tt.want || strings.Contains(out, "malformed") {
				t.Errorf("dig %s %s: %s, want %s\n%s", network, tt.args, got, tt.want, out)
			}
		}
	}
}

// field returns the part of a line between two texts.
func field(line, after, before string) string {
	_, rest, _ := strings.Cut(line, after)
	value, _, _ := strings.Cut(rest, before)
	return strings.TrimSpace(value)
}

// resolvConf configures the server as the machine's resolver.
func resolvConf(t *testing.T) {
	t.Helper()
	path, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := write(t, "resolv.conf", "nameserver %s\noptions timeout:5 attempts:1\n", gateway)
	if err := unix.Mount(conf, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, 0) })
	switched := write(t, "nsswitch.conf", "hosts: dns\n")
	if err := unix.Mount(switched, "/etc/nsswitch.conf", "", unix.MS_BIND, ""); err == nil {
		t.Cleanup(func() { _ = unix.Unmount("/etc/nsswitch.conf", 0) })
	}
}

// lookups are names and the IPv4 addresses that this machine must get for them.
var lookups = []struct{ name, want string }{
	{"shop.micro.test", "127.0.0.1"}, {"any.dev.micro.test", "127.0.0.1"}, {"nope.micro.test", ""}, {"www.example.com", "198.51.100.1"},
	{"alias.example.com", "198.51.100.1"}, {"none.example.com", ""}, {"rebind.example.com", ""}, {"vm1.c.proj.internal", "10.128.0.7"},
}

func TestGlibc(t *testing.T) {
	resolvConf(t)
	for _, l := range lookups {
		out := output(t, "getent", "ahostsv4", l.name)
		if got, _, _ := strings.Cut(out, " "); got != l.want {
			t.Errorf("%s: %q, want %q", l.name, out, l.want)
		}
	}
	if out := output(t, "getent", "hosts", "10.77.0.5"); !strings.Contains(out, "10-77-0-5.shop.default.internal") {
		t.Errorf("the name of an address: %q", out)
	}
	if out := output(t, "getent", "ahostsv4", "many.example.com"); strings.Count(out, "STREAM") != 35 {
		t.Errorf("35 addresses: %s", out)
	}
}

// lookupC prints a name's addresses.
const lookupC = `#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
	struct addrinfo hints, *all, *a;
	memset(&hints, 0, sizeof hints);
	hints.ai_family = AF_INET;
	hints.ai_socktype = SOCK_STREAM;
	int err = getaddrinfo(argv[1], 0, &hints, &all);
	if (err) return err == EAI_NONAME ? 0 : 1;
	for (a = all; a; a = a->ai_next) puts(inet_ntoa(((struct sockaddr_in *)a->ai_addr)->sin_addr));
	return 0;
}
`

// TestMusl resolves names with the libc of Alpine. Debian's version has no TCP: it uses the addresses that fit.
func TestMusl(t *testing.T) {
	resolvConf(t)
	program := filepath.Join(t.TempDir(), "lookup")
	if out := output(t, "musl-gcc", "-static", "-o", program, write(t, "lookup.c", "%s", lookupC)); out != "" {
		t.Fatal(out)
	}
	for _, l := range lookups {
		if got := strings.TrimSpace(output(t, program, l.name)); got != l.want {
			t.Errorf("%s: %q, want %q", l.name, got, l.want)
		}
	}
	if n := len(strings.Fields(output(t, program, "many.example.com"))); n < 20 {
		t.Errorf("%d of 35 addresses", n)
	}
}

func TestBusyBox(t *testing.T) {
	resolvConf(t)
	for _, l := range lookups {
		out := output(t, "busybox", "nslookup", "-type=a", l.name)
		var got []string
		_, answer, _ := strings.Cut(out, "\n\n") // skip the server's own address
		for line := range strings.Lines(answer) {
			if addr, ok := strings.CutPrefix(line, "Address: "); ok {
				got = append(got, strings.TrimSpace(addr))
			}
		}
		if !slices.Equal(got, strings.Fields(l.want)) {
			t.Errorf("%s: %q, want %q\n%s", l.name, got, l.want, out)
		}
	}
	for question, want := range map[string]string{
		"-type=soa micro.test": "ns.micro.test", "-type=ptr 5.0.77.10.in-addr.arpa": "10-77-0-5.shop.default.internal", "10.77.0.5": "10-77-0-5.shop.default.internal",
	} {
		if out := output(t, "busybox", append([]string{"nslookup"}, strings.Fields(question)...)...); !strings.Contains(out, want) {
			t.Errorf("%s: %s, want %s", question, out, want)
		}
	}
}

// TestNothingLeaks checks that queries for our own and special-use names never reach the upstream.
func TestNothingLeaks(t *testing.T) {
	before := upstreamQueries.Load()
	for _, q := range ours {
		exchange(t, gateway, q)
	}
	for _, q := range []string{"printer.local A", "x.onion A", "9.1.168.192.in-addr.arpa PTR", "1.0.0.127.in-addr.arpa PTR", "_dns.resolver.arpa SVCB", "other.test A", "x.localhost A"} {
		exchange(t, gateway, q)
	}
	if n := upstreamQueries.Load() - before; n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}
