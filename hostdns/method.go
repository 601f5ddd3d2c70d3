package hostdns

import (
	"context"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Method is a way to set up a resolver.
type Method string

// The methods, in the order in which they are tried.
const (
	MacOS            Method = "macos"
	ResolvedDelegate Method = "resolved-delegate"
	ResolvedLink     Method = "resolved-link"
	NetworkManager   Method = "networkmanager"
	ResolvConf       Method = "resolv.conf"
)

// way is how a method is carried out.
type way interface {
	// fits reports whether the machine's names are resolved so that the method has an effect.
	fits(ctx context.Context, h *Host) bool
	// install returns the steps for a setup that is not there yet.
	install(ctx context.Context, h *Host, s Setup) ([]Step, error)
	// installed returns what is there for a domain: the setup, and the steps that remove it.
	installed(h *Host, d cloud.Domain) (Setup, []Step, error)
}

// Methods returns all methods, in the order in which they are tried.
func Methods() []Method {
	return []Method{MacOS, ResolvedDelegate, ResolvedLink, NetworkManager, ResolvConf}
}

func (m Method) way() way {
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

// Describe says in words what the method sets up.
func (m Method) Describe() string {
	switch m {
	case MacOS:
		return "macOS, by a file in /etc/resolver"
	case ResolvedDelegate:
		return "systemd-resolved, by a file in /etc/systemd/dns-delegate.d"
	case ResolvedLink:
		return "systemd-resolved, by a network link of micro's"
	case NetworkManager:
		return "NetworkManager's dnsmasq, by a file in /etc/NetworkManager/dnsmasq.d"
	case ResolvConf:
		return "/etc/resolv.conf, whose first name server becomes the node"
	}
	return string(m)
}

// ParseMethod reads a method's name.
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

// Detect returns the method that fits the machine.
func (h *Host) Detect(ctx context.Context) Method {
	for _, m := range Methods() {
		if m.way().fits(ctx, h) {
			return m
		}
	}
	return ResolvConf
}

// Install returns the steps that set the machine up, and remove what an earlier install has left. None: it
// is set up already.
func (h *Host) Install(ctx context.Context, m Method, s Setup) ([]Step, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	var steps []Step
	for _, other := range Methods() {
		was, undo, err := other.way().installed(h, s.Domain)
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
		// It is an edit of what is there once the other steps are done.
		return append(steps, reinstall{s}), nil
	}
	add, err := m.way().install(ctx, h, s)
	return append(steps, add...), err
}

// Uninstall returns the steps that remove all that was set up for a domain. None: nothing was.
func (h *Host) Uninstall(d cloud.Domain) (steps []Step, err error) {
	for _, m := range Methods() {
		_, undo, err := m.way().installed(h, d)
		if err != nil {
			return nil, err
		}
		steps = append(steps, undo...)
	}
	return steps, nil
}

// Installed returns how the machine is set up for a domain; "" where it is not.
func (h *Host) Installed(d cloud.Domain) (Method, Setup, error) {
	for _, m := range Methods() {
		s, undo, err := m.way().installed(h, d)
		if err != nil || undo != nil {
			return m, s, err
		}
	}
	return "", Setup{}, nil
}

// ownFile returns what a file at a path was made for, and whether it is there. A file of others is an error.
func ownFile(h *Host, path string, d cloud.Domain) (Setup, bool, error) {
	text, err := h.read(path)
	if err != nil || text == "" && !h.exists(path) {
		return Setup{}, false, err
	}
	s, ok := readNote(text)
	if !ok || s.Domain != d {
		return Setup{}, false, cloud.Errorf(cloud.Conflict, "%s is not of micro's making", path).WithHint("move it away, and try again")
	}
	return s, true, nil
}
