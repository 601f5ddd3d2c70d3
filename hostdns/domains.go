package hostdns

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Domains returns the domains that this machine is set up for, sorted, by reading the files of all methods.
func (h *Host) Domains() ([]cloud.Domain, error) {
	names := []string{resolvConfPath}
	for _, dir := range []string{"/etc/systemd/dns-delegate.d", "/etc/systemd/system", "/etc/NetworkManager/dnsmasq.d", "/etc/resolver"} {
		entries, err := os.ReadDir(h.path(dir))
		if err != nil {
			continue // most machines have only one of these folders
		}
		for _, e := range entries {
			if e.Type().IsRegular() && (strings.HasPrefix(e.Name(), "micro-") || dir == "/etc/resolver") {
				names = append(names, path.Join(dir, e.Name()))
			}
		}
	}
	var all []cloud.Domain
	for _, name := range names {
		text, err := h.read(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			if s, ok := readNote(line); ok {
				all = append(all, s.Domain)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
