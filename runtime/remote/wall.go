package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// Refused is the error of a connection to an address that is not allowed.
type Refused struct {
	Host string // as in the image's name, a token realm or a redirect
	Err  error  // why the address is not allowed
}

func (r *Refused) Error() string {
	return fmt.Sprintf("connecting to %s is not allowed: %v", r.Host, r.Err)
}

func (r *Refused) Unwrap() error { return r.Err }

// wall dials the connections to registries. The user who pushes chooses the registry, and the registry chooses its
// token realm and its redirects. None of them may lead to an address that only this machine can reach, unless the
// operator has named the registry.
type wall struct {
	config Config
	check  func(netip.Addr) error // nil: no wall
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dialer net.Dialer

	mu    sync.Mutex // guards named
	named map[string]bool
}

func newWall(c Config) *wall {
	w := &wall{
		config: c, check: c.CheckOutside, lookup: net.DefaultResolver.LookupNetIP, named: map[string]bool{},
		dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second},
	}
	// The operator has also named the proxies.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		value := os.Getenv(name)
		if value != "" && !strings.Contains(value, "://") {
			value = "http://" + value
		}
		if u, err := url.Parse(value); err == nil && u.Host != "" {
			w.allow(hostPort(u.Host, u.Scheme))
		}
	}
	return w
}

// allow allows connections to HOST:PORT at any address.
func (w *wall) allow(hostport string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.named[strings.ToLower(hostport)] = true
}

// allowed reports whether the operator has named HOST:PORT: in the folder of certificates, as a proxy, or in Docker's
// configuration (docker login).
func (w *wall) allowed(hostport string) bool {
	w.mu.Lock()
	named := w.named[strings.ToLower(hostport)]
	w.mu.Unlock()
	if named {
		return true
	}
	host, port, err := net.SplitHostPort(hostport)
	return err == nil && (w.config.hasLogin(hostport) || (port == "443" || port == "80") && w.config.hasLogin(host))
}

// dial resolves a name, checks the addresses, and connects to one of them. It resolves only once, so that the address
// can't change between check and connection.
func (w *wall) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	if w.check == nil || w.allowed(hostport) {
		return w.dialer.DialContext(ctx, network, hostport)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = w.lookup(ctx, "ip", host); err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range addrs {
		if err := w.check(addr); err != nil {
			errs = append(errs, &Refused{Host: hostport, Err: err})
			continue
		}
		conn, err := w.dialer.DialContext(ctx, network, net.JoinHostPort(addr.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// admit allows the servers that the folder of certificates and mirrors has for a registry.
func (w *wall) admit(hosts docker.RegistryHosts) docker.RegistryHosts {
	return func(name string) ([]docker.RegistryHost, error) {
		all, err := hosts(name)
		if err == nil && w.config.hasFolder(name) {
			for _, h := range all {
				w.allow(hostPort(h.Host, h.Scheme))
				w.allow(hostPort(h.Host, "http")) // for the fallback to plain HTTP
			}
		}
		return all, err
	}
}

// hasFolder reports whether there is a folder with a registry's certificates, under the names that containerd
// knows it by.
func (c Config) hasFolder(name string) bool {
	names := []string{name}
	if host, port, ok := strings.Cut(name, ":"); ok {
		names = append(names, host+"_"+port+"_")
	}
	for _, n := range names {
		if filepath.Base(n) != n {
			continue
		}
		if info, err := os.Stat(filepath.Join(c.certsDir(), n)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// hostPort adds a scheme's port to a host that has none.
func hostPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
