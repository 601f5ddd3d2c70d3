package hostdns

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// networkManager writes a file for the dnsmasq that NetworkManager runs if so configured.
type networkManager struct{}

func dnsmasqPath(d cloud.Domain) string {
	return fmt.Sprintf("/etc/NetworkManager/dnsmasq.d/micro-%s.conf", d)
}

// restartDNS makes NetworkManager restart its dnsmasq, which reads its folder only at the start.
var restartDNS = command{args: []string{"nmcli", "general", "reload", "dns-full"}}

func (networkManager) applies(_ context.Context, h *Host) bool {
	return h.OS == "linux" && h.exists("/run/NetworkManager") && h.networkManagerDNS() == "dnsmasq"
}

// networkManagerDNS returns the value of "dns" in the section "main" of NetworkManager's configuration. Of
// files with the same name, the one in /etc counts; of several settings, the last (NetworkManager.conf(5)).
func (h *Host) networkManagerDNS() (dns string) {
	files := map[string]string{}
	for _, dir := range []string{"/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/etc/NetworkManager/conf.d"} {
		entries, err := os.ReadDir(h.path(dir))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".conf" {
				files[e.Name()] = path.Join(dir, e.Name())
			}
		}
	}
	order := []string{"/etc/NetworkManager/NetworkManager.conf"}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		order = append(order, files[name])
	}
	for _, name := range order {
		text, err := h.read(name)
		if err != nil {
			continue
		}
		section := ""
		for _, line := range lines(text) {
			if strings.HasPrefix(line, "[") {
				section = line
			}
			if key, value, ok := strings.Cut(line, "="); ok && section == "[main]" && strings.TrimSpace(key) == "dns" {
				dns = strings.TrimSpace(value)
			}
		}
	}
	return dns
}

func (networkManager) install(_ context.Context, _ *Host, s Setup) ([]Step, error) {
	server := s.Server.Addr().String()
	if s.Server.Port() != 53 {
		server += fmt.Sprintf("#%d", s.Server.Port())
	}
	// The node's answers are private addresses, which dnsmasq may be configured to drop.
	text := fmt.Sprintf("%sserver=/%s/%s\nrebind-domain-ok=/%s/\n", s.note(), s.Domain, server, s.Domain)
	return []Step{write{dnsmasqPath(s.Domain), text}, restartDNS}, nil
}

func (networkManager) installed(h *Host, d cloud.Domain) (Setup, []Step, error) {
	s, ok, err := ownFile(h, dnsmasqPath(d), d)
	if err != nil || !ok {
		return s, nil, err
	}
	return s, []Step{remove{dnsmasqPath(d)}, restartDNS}, nil
}
