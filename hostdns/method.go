package hostdns

import (
	"context"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Method is a way to configure a resolver.
type Method string

// The methods, in the order in which they are tried.
const (
	MacOS            Method = "macos"
	ResolvedDelegate Method = "resolved-delegate"
	ResolvedLink     Method = "resolved-link"
	NetworkManager   Method = "networkmanager"
	ResolvConf       Method = "resolv.conf"
)

// installer implements a method.
type installer interface {
	// applies reports whether the method has an effect on this machine.
	applies(ctx context.Context, h *Host) bool
	// install returns the steps that install a setup. There is no other setup for the domain.
	install(ctx context.Context, h *Host, s Setup) ([]Step, error)
	// installed returns the installed setup for a domain and the steps that remove it; no steps if there is none.
	installed(h *Host, d cloud.Domain) (Setup, []Step, error)
}

// Methods returns all methods, in the order in which they are tried.
func Methods() []Method {
	return []Method{MacOS, ResolvedDelegate, ResolvedLink, NetworkManager, ResolvConf}
}

func (m Method) installer() installer {
	switch m {
	case MacOS:
		return macOS{}
	case ResolvedDelegate:
		return resolvedDelegate{}
	case ResolvedLink:
		return resolvedLink{}
	case NetworkManager:
		return networkManager{}
	case ResolvConf:
		return resolvConf{}
	}
	return nil
}

// Describe returns a description for users.
func (m Method) Describe() string {
	switch m {
	case MacOS:
		return "macOS, by a file in /etc/resolver"
	case ResolvedDelegate:
		return "systemd-resolved, by a file in /etc/systemd/dns-delegate.d"
	case ResolvedLink:
		return "systemd-resolved, by a network link for micro"
	case NetworkManager:
		return "NetworkManager's dnsmasq, by a file in /etc/NetworkManager/dnsmasq.d"
	case ResolvConf:
		return "/etc/resolv.conf, with the node as its first name server"
	}
	return string(m)
}

// ParseMethod returns the method with a name.
func ParseMethod(s string) (Method, error) {
	if m := Method(s); slices.Contains(Methods(), m) {
		return m, nil
	}
	var names []string
	for _, m := range Methods() {
		names = append(names, string(m))
	}
	return "", cloud.Errorf(cloud.Invalid, "unknown method %q", s).WithHint("the methods are %s", strings.Join(names, ", "))
}

// Detect returns the first method that applies to the machine.
func (h *Host) Detect(ctx context.Context) Method {
	for _, m := range Methods() {
		if m.installer().applies(ctx, h) {
			return m
		}
	}
	return ResolvConf
}

// Install returns the steps that install a setup and remove earlier ones for its domain. There are no steps if
// the setup is already installed.
func (h *Host) Install(ctx context.Context, m Method, s Setup) ([]Step, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	var steps []Step
	for _, other := range Methods() {
		was, undo, err := other.installer().installed(h, s.Domain)
		switch {
		case err != nil:
			return nil, err
		case undo == nil:
		case other == m && was == s:
			return steps, nil
		default:
			steps = append(steps, undo...)
		}
	}
	if m == ResolvConf && len(steps) > 0 {
		// This step must edit the file as it is after the other steps.
		return append(steps, reinstall{s}), nil
	}
	add, err := m.installer().install(ctx, h, s)
	return append(steps, add...), err
}

// Uninstall returns the steps that remove all setups for a domain. There are no steps if nothing is installed.
func (h *Host) Uninstall(d cloud.Domain) (steps []Step, err error) {
	for _, m := range Methods() {
		_, undo, err := m.installer().installed(h, d)
		if err != nil {
			return nil, err
		}
		steps = append(steps, undo...)
	}
	return steps, nil
}

// Installed returns the method and setup that are installed for a domain; "" if there is none.
func (h *Host) Installed(d cloud.Domain) (Method, Setup, error) {
	for _, m := range Methods() {
		s, undo, err := m.installer().installed(h, d)
		if err != nil || undo != nil {
			return m, s, err
		}
	}
	return "", Setup{}, nil
}

// ownFile returns the setup that a file was made for, and whether the file exists. It is an error if the file
// was not made by micro for the domain.
func ownFile(h *Host, path string, d cloud.Domain) (Setup, bool, error) {
	text, err := h.read(path)
	if err != nil || text == "" && !h.exists(path) {
		return Setup{}, false, err
	}
	s, ok := readNote(text)
	if !ok || s.Domain != d {
		return Setup{}, false, cloud.Errorf(cloud.Conflict, "%s was not made by micro for this domain", path).WithHint("move it away, and try again")
	}
	return s, true, nil
}
