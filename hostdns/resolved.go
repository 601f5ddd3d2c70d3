package hostdns

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// usesResolved reports whether the machine's programs use systemd-resolved.
func (h *Host) usesResolved() bool {
	if h.OS != "linux" || !h.exists("/run/systemd/resolve") {
		return false
	}
	if strings.Contains(h.follow("/etc/resolv.conf"), "/systemd/resolve/") {
		return true
	}
	text, err := h.read("/etc/resolv.conf")
	if err != nil {
		return false
	}
	servers := nameservers(text)
	return slices.Contains(servers, "127.0.0.53") || slices.Contains(servers, "127.0.0.54")
}

var versionLine = regexp.MustCompile(`(?m)^systemd ([0-9]+)`)

// resolvedVersion returns the version of systemd-resolved, or 0 if it is unknown.
func (h *Host) resolvedVersion(ctx context.Context) int {
	out, err := h.Run(ctx, "resolvectl", "--version")
	if err != nil {
		return 0
	}
	m := versionLine.FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // the expression matches digits only
	return n
}

// delegates is the first version that reads dns-delegate.d, and portedServers the first that accepts a port
// with a server's address.
const (
	delegates     = 258
	portedServers = 246
)

var flush = command{args: []string{"resolvectl", "flush-caches"}, mayFail: true}

// resolvedDelegate writes a file that systemd-resolved reads from version 258 on.
type resolvedDelegate struct{}

func delegatePath(d cloud.Domain) string {
	return fmt.Sprintf("/etc/systemd/dns-delegate.d/micro-%s.dns-delegate", d)
}

var reloadResolved = command{args: []string{"systemctl", "reload-or-restart", "systemd-resolved.service"}}

func (resolvedDelegate) applies(ctx context.Context, h *Host) bool {
	return h.usesResolved() && h.resolvedVersion(ctx) >= delegates
}

func (resolvedDelegate) install(_ context.Context, _ *Host, s Setup) ([]Step, error) {
	text := fmt.Sprintf("%s[Delegate]\nDNS=%s\nDomains=~%s\n", s.note(), s.Server, s.Domain)
	return []Step{write{delegatePath(s.Domain), text}, reloadResolved, flush}, nil
}

func (resolvedDelegate) installed(h *Host, d cloud.Domain) (Setup, []Step, error) {
	s, ok, err := ownFile(h, delegatePath(d), d)
	if err != nil || !ok {
		return s, nil, err
	}
	return s, []Step{remove{delegatePath(d)}, reloadResolved, flush}, nil
}

// resolvedLink makes a network link with its own server and domain. Older versions have no other way to send
// only one domain's names to a server. The link is lost at a reboot, and its settings when systemd-resolved
// restarts; a unit makes it again after both.
type resolvedLink struct{}

// linkAddr is from a range for documentation (RFC 5737). systemd-resolved ignores links without an address.
const linkAddr = "192.0.2.53/32"

func unitName(d cloud.Domain) string { return fmt.Sprintf("micro-dns-%s.service", d) }
func unitPath(d cloud.Domain) string { return "/etc/systemd/system/" + unitName(d) }

// linkName returns a name for the link of a domain, at most 15 characters long.
func linkName(d cloud.Domain) string {
	return fmt.Sprintf("micro-%x", sha256.Sum256([]byte(d)))[:14]
}

func (resolvedLink) applies(ctx context.Context, h *Host) bool {
	return h.usesResolved() && h.resolvedVersion(ctx) > 0
}

// commands returns the commands that make the link. Commands that may fail begin with "-", as in systemd units.
func (resolvedLink) commands(s Setup) []string {
	link := linkName(s.Domain)
	server := s.Server.Addr().String()
	if s.Server.Port() != 53 {
		server = s.Server.String()
	}
	return []string{
		"-ip link add " + link + " type dummy",
		"-ip link add " + link + " type veth peer name " + link + "p", // some kernels have no dummy links
		"ip link set " + link + " up",
		"-ip link set " + link + "p up",
		"ip address replace " + linkAddr + " dev " + link,
		"resolvectl dns " + link + " " + server,
		"resolvectl domain " + link + " ~" + string(s.Domain),
		"resolvectl default-route " + link + " no",
		"-resolvectl dnssec " + link + " no",
		"-resolvectl llmnr " + link + " no",
		"-resolvectl mdns " + link + " no",
	}
}

func (w resolvedLink) install(ctx context.Context, h *Host, s Setup) ([]Step, error) {
	if v := h.resolvedVersion(ctx); v < portedServers && s.Server.Port() != 53 {
		return nil, cloud.Errorf(cloud.Conflict, "systemd-resolved %d supports only servers at port 53, and the node's is at %s", v, s.Server).
			WithHint("micro up --dns 127.0.0.2:53")
	}
	if !h.systemd() {
		var steps []Step
		for i, line := range w.commands(s) {
			c := command{args: strings.Fields(strings.TrimPrefix(line, "-")), mayFail: strings.HasPrefix(line, "-")}
			if i == 0 {
				c.undo = []string{"ip", "link", "delete", linkName(s.Domain)}
			}
			steps = append(steps, c)
		}
		return append(steps, flush), nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, `%s[Unit]
Description=Names of %s from %s
After=systemd-resolved.service
PartOf=systemd-resolved.service

[Service]
Type=oneshot
RemainAfterExit=yes
`, s.note(), s.Domain, s.Server)
	for _, line := range w.commands(s) {
		optional := ""
		if strings.HasPrefix(line, "-") {
			optional = "-"
		}
		fmt.Fprintf(&text, "ExecStart=%s/usr/bin/env %s\n", optional, strings.TrimPrefix(line, "-"))
	}
	fmt.Fprintf(&text, "ExecStop=-/usr/bin/env ip link delete %s\n\n[Install]\nWantedBy=multi-user.target\n", linkName(s.Domain))
	return []Step{
		write{unitPath(s.Domain), text.String()},
		command{args: []string{"systemctl", "daemon-reload"}},
		command{args: []string{"systemctl", "enable", "--now", unitName(s.Domain)}, undo: []string{"systemctl", "disable", "--now", unitName(s.Domain)}},
		flush,
	}, nil
}

func (resolvedLink) installed(h *Host, d cloud.Domain) (Setup, []Step, error) {
	var steps []Step
	s, ok, err := ownFile(h, unitPath(d), d)
	if err != nil {
		return s, nil, err
	}
	if ok {
		steps = append(steps, command{args: []string{"systemctl", "disable", "--now", unitName(d)}}, remove{unitPath(d)}, command{args: []string{"systemctl", "daemon-reload"}})
	}
	if link := linkName(d); h.exists("/sys/class/net/" + link) {
		// If there is a unit, it has already deleted the link.
		steps = append(steps, command{args: []string{"ip", "link", "delete", link}, mayFail: ok})
		s.Domain = d
	}
	if steps != nil {
		steps = append(steps, flush)
	}
	return s, steps, nil
}
