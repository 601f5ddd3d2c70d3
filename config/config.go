package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// DefaultData is where a node keeps its things.
const DefaultData = "/var/lib/micro"

// DefaultDomain is the private domain; ".test" is for such use (RFC 6761, section 6.2).
const DefaultDomain cloud.Domain = "micro.test"

// DefaultAdminGroup is the system's group whose members may do everything that root may.
const DefaultAdminGroup = "micro"

// Node is how a node is set up. Zero fields were not said, and are the node's to choose and remember.
type Node struct {
	Data string
	// Key is the file with the key to the cloud's secrets; "" is the place that KeyFile chooses.
	Key    string
	Name   cloud.NodeName
	Domain cloud.Domain     // "" is what the cloud has, DefaultDomain where it is new
	HTTP   []netip.AddrPort // internal listeners
	Public []netip.AddrPort // public listeners; none unless asked for
	// HTTPS and PublicHTTPS are the same by TLS.
	HTTPS, PublicHTTPS []netip.AddrPort
	DNS                []netip.AddrPort
	Proxies            Proxies
	Names              Names
	Limits             Limits
	Build              Build
	// Registries are asked with this.
	Registries Registries
	// AdminGroup is the system's group whose members may do everything that root may: "micro" by default.
	AdminGroup string
	Subnet     netip.Prefix
}

// Keys are the names of all settings: --KEY, MICRO_KEY (in upper case, with _ for -), and KEY in the file.
func Keys() []string {
	return []string{"data", "key", "name", "domain", "http", "https", "public-http", "public-https", "dns", "dns-upstream", "dns-private", "dns-rate", "trusted-proxies", "proxy-protocol", "subnet", "admin-group", "log-limit", "audit-lines",
		"registry-config", "registry-certs", "image-size", "upload-size", "upload-files", "disk-free", "build-time", "build-memory", "build-cpu", "build-pids", "build-cache",
		"join", "containerd"}
}

// notYet are settings that are known and not supported: asking for one is refused, never ignored.
var notYet = map[string]string{
	"join":       "joining a cloud of several nodes",
	"containerd": "using the host's containerd",
}

// Source gives the values of a setting, and where they come from as a person calls it; nil where it says
// nothing.
type Source func(key string) (values []string, from string)

// lists are the settings with several values, which one variable holds with commas between them.
var lists = []string{"http", "https", "public-http", "public-https", "dns", "trusted-proxies", "proxy-protocol"}

// Env reads MICRO_* variables by a function such as os.LookupEnv.
func Env(lookup func(string) (string, bool)) Source {
	return func(key string) ([]string, string) {
		name := "MICRO_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
		v, ok := lookup(name)
		if !ok || v == "" {
			return nil, ""
		}
		if slices.Contains(lists, key) {
			return strings.Split(v, ","), name
		}
		return []string{v}, name
	}
}

// Load asks the sources in order; the first one that says something of a setting is heard.
func Load(sources ...Source) (Node, error) {
	n := Node{AdminGroup: DefaultAdminGroup, Data: DefaultData}
	var errs []error
	for _, key := range Keys() {
		for _, source := range sources {
			values, from := source(key)
			if values == nil {
				continue
			}
			if err := n.set(key, values); err != nil {
				errs = append(errs, in(from, err))
			}
			break
		}
	}
	if n.Name == "" {
		n.Name = hostName()
	}
	if err := n.checkKey(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, n.twice()...)
	if err := n.Proxies.check(); err != nil {
		errs = append(errs, err)
	}
	return n, cloud.Join(errs...)
}

// twice finds addresses that two listeners would take; the DNS server listens over TCP as well.
func (n *Node) twice() (errs []error) {
	seen := map[netip.AddrPort]string{}
	for _, l := range []struct {
		key   string
		addrs []netip.AddrPort
	}{{"http", n.HTTP}, {"https", n.HTTPS}, {"public-http", n.Public}, {"public-https", n.PublicHTTPS}, {"dns", n.DNS}} {
		for _, a := range l.addrs {
			before, ok := seen[a]
			switch {
			case a.Port() == 0: // each takes one that is free
			case ok:
				errs = append(errs, cloud.Errorf(cloud.Invalid, "address %s is asked for twice, for %s and %s", a, before, l.key))
			default:
				seen[a] = l.key
			}
		}
	}
	return errs
}

// in says where a wrong value stands.
func in(from string, err error) error {
	return cloud.Errorf(cloud.Invalid, "%s: %w", from, err).WithHintOf(err)
}

func (n *Node) set(key string, values []string) error {
	if what, ok := notYet[key]; ok {
		return cloud.Errorf(cloud.Invalid, "%s is not supported yet", what).WithHint("leave %s out", key)
	}
	last := values[len(values)-1]
	one := strings.TrimSpace(last)
	switch key {
	case "data":
		one = last // a folder's name may begin or end with a space
		if !filepath.IsAbs(one) {
			return cloud.Errorf(cloud.Invalid, "data folder %q is not an absolute path", one).WithHint("for example %s", DefaultData)
		}
		n.Data = filepath.Clean(one)
		if n.Data == "/" {
			return cloud.Errorf(cloud.Invalid, "data folder / is the whole machine, which micro would close to all but root").WithHint("for example %s", DefaultData)
		}
		return n.checkSocket()
	case "key":
		if !filepath.IsAbs(one) {
			return cloud.Errorf(cloud.Invalid, "key file %q is not an absolute path", one).WithHint("for example %s", DefaultData+keySuffix)
		}
		n.Key = filepath.Clean(one)
	case "name":
		if err := cloud.ProcessName(one).Validate(); err != nil {
			return cloud.Errorf(cloud.Invalid, "invalid node name %q", one)
		}
		n.Name = cloud.NodeName(one)
	case "domain":
		n.Domain = cloud.Domain(strings.TrimSuffix(strings.ToLower(one), "."))
		return n.Domain.Validate()
	case "http":
		return addresses(&n.HTTP, values, 80, false)
	case "https":
		return addresses(&n.HTTPS, values, 443, false)
	case "public-http":
		return addresses(&n.Public, values, 80, true)
	case "public-https":
		return addresses(&n.PublicHTTPS, values, 443, true)
	case "dns":
		return addresses(&n.DNS, values, 53, false)
	case "dns-upstream":
		return n.Names.setUpstreams(values)
	case "dns-private":
		return n.Names.setPrivate(values)
	case "dns-rate":
		return n.Names.setRate(one)
	case "trusted-proxies":
		return networks(&n.Proxies.Trusted, key, values)
	case "proxy-protocol":
		return n.Proxies.setProtocol(values)
	case "admin-group":
		if one == "" || strings.ContainsAny(one, ": \t\n,") {
			return cloud.Errorf(cloud.Invalid, "invalid group %q", last)
		}
		n.AdminGroup = one
	case "log-limit":
		return size(&n.Limits.Logs, key, one, 1<<20)
	case "audit-lines":
		return count(&n.Limits.AuditLines, key, one, 100)
	case "image-size":
		return size(&n.Limits.ImageSize, key, one, 1<<20)
	case "upload-size":
		return size(&n.Limits.Upload, key, one, 1<<20)
	case "upload-files":
		return count(&n.Limits.Files, key, one, 100)
	case "disk-free":
		return size(&n.Limits.DiskFree, key, one, 1<<20)
	case "registry-config":
		return path(&n.Registries.Credentials, key, last)
	case "registry-certs":
		return path(&n.Registries.Certs, key, last)
	case "build-time":
		return n.Build.setTime(one)
	case "build-memory":
		return size(&n.Build.Memory, key, one, 16<<20)
	case "build-cpu":
		return n.Build.setCPU(one)
	case "build-pids":
		return count(&n.Build.Pids, key, one, 16)
	case "build-cache":
		return size(&n.Build.Cache, key, one, 1<<20)
	case "subnet":
		p, err := netip.ParsePrefix(one)
		if err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 29 || !p.Addr().IsPrivate() {
			return cloud.Errorf(cloud.Invalid, "subnet %q is no private IPv4 network of /8 to /29", one).WithHint("for example 10.88.0.0/20")
		}
		n.Subnet = p.Masked()
	}
	return nil
}

// path reads the absolute path of a file or folder.
func path(to *string, key, value string) error {
	if !filepath.IsAbs(value) {
		return cloud.Errorf(cloud.Invalid, "%s %q is not an absolute path", key, value)
	}
	*to = filepath.Clean(value)
	return nil
}

// addresses reads "IP:port", "IP" or ":port", the last on 127.0.0.1; with wildcard on every address.
func addresses(to *[]netip.AddrPort, values []string, port uint16, wildcard bool) error {
	*to = nil
	for _, v := range values {
		v = strings.TrimSpace(v)
		if strings.HasPrefix(v, ":") {
			v = map[bool]string{false: "127.0.0.1", true: "0.0.0.0"}[wildcard] + v
		}
		if ip, err := netip.ParseAddr(strings.Trim(v, "[]")); err == nil {
			*to = append(*to, netip.AddrPortFrom(ip, port))
			continue
		}
		a, err := netip.ParseAddrPort(v)
		if err != nil {
			return cloud.Errorf(cloud.Invalid, "address %q is no IP:port", v).WithHint("for example 127.0.0.1:%d", port)
		}
		if a.Addr().IsUnspecified() && !wildcard {
			return cloud.Errorf(cloud.Invalid, "address %s is every address of this machine, and internal names are for named ones only", a).
				WithHint("for example 127.0.0.1:%d", a.Port())
		}
		*to = append(*to, a)
	}
	return nil
}

// hostName is the machine's own name as a label, "node" where it has none that is one.
func hostName() cloud.NodeName {
	h, err := os.Hostname()
	if err != nil {
		return "node"
	}
	h, _, _ = strings.Cut(strings.ToLower(h), ".")
	if cloud.ProcessName(h).Validate() != nil {
		return "node"
	}
	return cloud.NodeName(h)
}
