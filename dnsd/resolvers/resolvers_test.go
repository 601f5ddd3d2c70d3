package resolvers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// ours are questions that the server answers itself; others are questions that it forwards.
var (
	ours = []string{
		"shop.micro.test A", "SHOP.Micro.Test A", "shop.micro.test AAAA", "shop.micro.test HTTPS", "shop.micro.test TXT", "shop.micro.test CAA",
		"shop-20261122-r1.micro.test A", "shop-20261122-r9.micro.test A", "nope.micro.test A", "below.shop.micro.test A",
		"qa.micro.test A", "tool.qa.micro.test A", "nope.qa.micro.test AAAA", "any.dev.micro.test A", "any.dev.micro.test AAAA", "x.any.dev.micro.test A", "dev.micro.test A",
		"a.b.deep.micro.test A", "b.deep.micro.test A", "deep.micro.test A", "x.b.deep.micro.test A",
		"micro.test A", "micro.test SOA", "micro.test NS", "ns.micro.test A", "api.micro.test A",
		"shop.default.internal A", "shop.default.internal AAAA", "shop.default.internal SRV", "_http._tcp.shop.default.internal SRV", "_tcp.shop.default.internal SRV",
		"10-77-0-5.shop.default.internal A", "10-77-0-5.shop.default.internal AAAA", "nope.default.internal A", "default.internal A", "default.internal SOA",
		"5.0.77.10.in-addr.arpa PTR", "99.0.77.10.in-addr.arpa PTR", "0.77.10.in-addr.arpa PTR", "1.168.10.in-addr.arpa PTR", "10.in-addr.arpa SOA",
	}
	others = []string{
		"www.example.com A", "WWW.example.com A", "www.example.com AAAA", "www.example.com MX", "alias.example.com A", "alias.example.com TXT",
		"none.example.com A", "many.example.com A", "vm1.c.proj.internal A", "vm2.c.proj.internal A",
	}
)

// exchange asks a server from the address of a container, and by TCP if the answer is truncated.
func exchange(t *testing.T, server, question string) *dns.Msg {
	t.Helper()
	name, qtype, _ := strings.Cut(question, " ")
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[qtype])
	m.SetEdns0(1232, false)
	for _, network := range []string{"udp", "tcp"} {
		var from net.Addr = &net.UDPAddr{IP: net.ParseIP(instance)}
		if network == "tcp" {
			from = &net.TCPAddr{IP: net.ParseIP(instance)}
		}
		c := dns.Client{Net: network, Timeout: 10 * time.Second, Dialer: &net.Dialer{LocalAddr: from, Timeout: 10 * time.Second}}
		r, _, err := c.Exchange(m, server+":53")
		if err != nil {
			t.Fatalf("%s of %s by %s: %v", question, server, network, err)
		}
		if !r.Truncated {
			return r
		}
	}
	t.Fatalf("%s of %s: truncated by TCP too", question, server)
	return nil
}

// summary formats an answer's rcode and records, without order, TTL and letter case, which may differ.
func summary(r *dns.Msg) string {
	var lines []string
	for _, rr := range r.Answer {
		rr.Header().Ttl = 0
		lines = append(lines, strings.ToLower(strings.Join(strings.Fields(rr.String()), " ")))
	}
	slices.Sort(lines)
	return dns.RcodeToString[r.Rcode] + "\n" + strings.Join(lines, "\n")
}

// run starts a daemon and waits until it answers for a name. The daemon ends with the test.
func run(t *testing.T, addr, ready string, name string, args ...string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
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
			t.Logf("%s: %s", name, out.String())
		}
	})
	m := new(dns.Msg).SetQuestion(ready, dns.TypeA)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		c := dns.Client{Timeout: 500 * time.Millisecond}
		if r, _, err := c.Exchange(m, addr+":53"); err == nil && r.Rcode == dns.RcodeSuccess {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended", name)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer for %s", name, ready)
}

func write(t *testing.T, name, format string, args ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// agree checks that a resolver's answers equal the server's. It asks each question twice, so that the second
// answer comes from the resolver's cache.
func agree(t *testing.T, resolver string, questions []string) {
	t.Helper()
	for _, q := range questions {
		want := summary(exchange(t, gateway, q))
		for range 2 {
			if got := summary(exchange(t, resolver, q)); got != want {
				t.Errorf("%s: the resolver says %s\nthe server %s", q, got, want)
			}
		}
	}
}

const unboundConf = `server:
  interface: %s
  outgoing-interface: %s
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  use-syslog: no
  verbosity: 1
  chroot: ""
  username: ""
  pidfile: ""
  directory: "/"
  module-config: "iterator"
  use-caps-for-id: yes
  qname-minimisation: yes
  qname-minimisation-strict: %s
  harden-below-nxdomain: yes
  do-not-query-localhost: no
  local-zone: "test." nodefault
  local-zone: "10.in-addr.arpa." nodefault
remote-control:
  control-enable: no
`

// TestUnbound configures unbound to treat the server as the authority of its zones. Unbound randomises letter
// case (0x20) and asks label by label (RFC 9156): for it, nothing exists below a name with NXDOMAIN.
func TestUnbound(t *testing.T) {
	conf := fmt.Sprintf(unboundConf, unboundAddr, instance, "yes")
	for _, zone := range []string{"micro.test.", "default.internal.", "10.in-addr.arpa."} {
		conf += fmt.Sprintf("stub-zone:\n  name: %q\n  stub-addr: %s\n", zone, gateway)
	}
	run(t, unboundAddr, "shop.micro.test.", "unbound", "-c", write(t, "unbound.conf", "%s", conf))
	agree(t, unboundAddr, ours)
}

// TestUnboundTop uses the server as the authority of whole top-level domains, so that unbound also asks for
// names above our zones.
func TestUnboundTop(t *testing.T) {
	conf := fmt.Sprintf(unboundConf, unboundAddr, instance, "yes")
	for _, zone := range []string{"test.", "in-addr.arpa."} {
		conf += fmt.Sprintf("stub-zone:\n  name: %q\n  stub-addr: %s\n", zone, gateway)
	}
	run(t, unboundAddr, "shop.micro.test.", "unbound", "-c", write(t, "unbound.conf", "%s", conf))
	var below []string
	for _, q := range ours {
		if strings.Contains(strings.ToLower(q), "test ") || strings.Contains(q, "77.10.in-addr.arpa") {
			below = append(below, q)
		}
	}
	agree(t, unboundAddr, below)
}

// TestUnboundForwarding lets unbound forward all queries to the server.
func TestUnboundForwarding(t *testing.T) {
	conf := fmt.Sprintf(unboundConf, unboundAddr, instance, "no") + fmt.Sprintf("forward-zone:\n  name: \".\"\n  forward-addr: %s\n", gateway)
	run(t, unboundAddr, "shop.micro.test.", "unbound", "-c", write(t, "unbound.conf", "%s", conf))
	agree(t, unboundAddr, slices.Concat(ours, others))
}

func TestDnsmasq(t *testing.T) {
	run(t, dnsmasqAddr, "shop.micro.test.", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--log-queries",
		"--listen-address="+dnsmasqAddr, "--bind-interfaces", "--server="+gateway+"@"+instance, "--server=/micro.test/"+gateway+"@"+instance)
	agree(t, dnsmasqAddr, slices.Concat(ours, others))
}
