package hostdns

import (
	"context"
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// resolvConf makes the node the first name server in /etc/resolv.conf. C libraries can't choose a server by
// domain, so they ask the node for every name. The name servers below it are those that the node forwards
// to, and that programs ask when the node does not run.
type resolvConf struct{}

const resolvConfPath = "/etc/resolv.conf"

func (resolvConf) applies(_ context.Context, h *Host) bool { return h.OS == "linux" }

func (resolvConf) install(_ context.Context, h *Host, s Setup) ([]Step, error) {
	if s.Server.Port() != 53 {
		return nil, cloud.Errorf(cloud.Conflict, "/etc/resolv.conf supports only port 53, and the node's DNS server is at %s", s.Server).
			WithHint("micro up --dns 127.0.0.2:53, or free port 53 of %s", s.Server.Addr())
	}
	if h.usesResolved() {
		return nil, cloud.Errorf(cloud.Conflict, "/etc/resolv.conf belongs to systemd-resolved on this machine").WithHint("micro dns install without --method; it needs the program resolvectl")
	}
	path := h.follow(resolvConfPath)
	text, err := h.read(path)
	if err != nil {
		return nil, err
	}
	if !h.exists(path) {
		text = createdFileNote
	}
	return []Step{edit{path: path, text: s.note() + s.nameserver() + text}}, nil
}

// createdFileNote follows our lines in a file that did not exist before, so that uninstalling removes the file.
const createdFileNote = "# The file was made with it.\n"

func (s Setup) nameserver() string { return fmt.Sprintf("nameserver %s\n", s.Server.Addr()) }

// installed finds our lines anywhere in the file.
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
			return s, []Step{edit{path: path, text: without, remove: without == createdFileNote}}, nil
		}
		start += len(line)
	}
	return Setup{}, nil, nil
}

// nameservers returns the name servers of a resolv.conf(5).
func nameservers(text string) (servers []string) {
	for _, line := range lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	return servers
}

// reinstall plans and does the edit of resolv.conf after earlier steps have changed the file.
type reinstall struct{ Setup }

func (r reinstall) String() string { return "change " + resolvConfPath }

func (r reinstall) do(ctx context.Context, h *Host) (func(), error) {
	steps, err := resolvConf{}.install(ctx, h, r.Setup)
	if err != nil {
		return nil, err
	}
	return steps[0].do(ctx, h)
}
