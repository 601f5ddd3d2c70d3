package hostdns

import (
	"context"
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// resolvConf is a line in /etc/resolv.conf before all others: the resolvers of C libraries know no domains,
// so that the node is asked for every name. The name servers behind it are those that the node asks in turn,
// and those that programs ask where the node does not run.
type resolvConf struct{}

const resolvConfPath = "/etc/resolv.conf"

func (resolvConf) fits(_ context.Context, h *Host) bool { return h.OS == "linux" }

func (resolvConf) install(_ context.Context, h *Host, s Setup) ([]Step, error) {
	if s.Server.Port() != 53 {
		return nil, cloud.Errorf(cloud.Conflict, "/etc/resolv.conf knows no ports, and the node's DNS server is at %s", s.Server).
			WithHint("micro up --dns 127.0.0.2:53, or free port 53 of %s", s.Server.Addr())
	}
	if h.usesResolved() {
		return nil, cloud.Errorf(cloud.Conflict, "/etc/resolv.conf is systemd-resolved's on this machine").WithHint("micro dns install without --method; it takes the program resolvectl")
	}
	path := h.follow(resolvConfPath)
	text, err := h.read(path)
	if err != nil {
		return nil, err
	}
	if !h.exists(path) {
		text = madeFile
	}
	return []Step{edit{path: path, text: s.note() + s.nameserver() + text}}, nil
}

// madeFile is behind our lines in a file that was not there before.
const madeFile = "# The file was made with it.\n"

func (s Setup) nameserver() string { return fmt.Sprintf("nameserver %s\n", s.Server.Addr()) }

// installed finds the lines of ours, wherever they are by now.
func (resolvConf) installed(h *Host, d cloud.Domain) (Setup, []Step, error) {
	path := h.follow(resolvConfPath)
	text, err := h.read(path)
	if err != nil {
		return Setup{}, nil, err
	}
	start := 0
	for line := range strings.Lines(text) {
		if s, ok := readNote(line); ok && s.Domain == d {
			without := text[:start] + strings.TrimPrefix(text[start+len(line):], s.nameserver())
			return s, []Step{edit{path: path, text: without, remove: without == madeFile}}, nil
		}
		start += len(line)
	}
	return Setup{}, nil, nil
}

// nameservers returns the addresses that a resolv.conf(5) names.
func nameservers(text string) (servers []string) {
	for _, line := range lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	return servers
}

// reinstall makes the line of a setup once the one before is gone.
type reinstall struct{ Setup }

func (r reinstall) String() string { return "change " + resolvConfPath }

func (r reinstall) do(ctx context.Context, h *Host) (func(), error) {
	steps, err := resolvConf{}.install(ctx, h, r.Setup)
	if err != nil {
		return nil, err
	}
	return steps[0].do(ctx, h)
}
