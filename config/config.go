package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// DefaultData is the default data folder of a node.
const DefaultData = "/var/lib/micro"

// DefaultDomain is the default private domain; ".test" is reserved for such use (RFC 6761, section 6.2).
const DefaultDomain cloud.Domain = "micro.test"

// DefaultClusterPort is the port on which the nodes of a cloud reach each other.
const DefaultClusterPort = 6427

// DefaultAdminGroup is the default system group whose members may do everything in micro that root may.
const DefaultAdminGroup = "micro"

// Node is the configuration of a node. The node chooses the values of zero fields and stores its choices.
type Node struct {
	Data string
	// Key is the file with the key to the cloud's secrets; "" is the path that KeyFile chooses.
	Key    string
	Name   cloud.NodeName
	Domain cloud.Domain     // "" is the cloud's domain, or DefaultDomain for a new cloud
	HTTP   []netip.AddrPort // internal listeners
	Public []netip.AddrPort // public listeners; none by default
	// HTTPS and PublicHTTPS are the same by TLS.
	HTTPS, PublicHTTPS []netip.AddrPort
	// HTTP3 answers by HTTP/3 too, on the UDP ports of the listeners for TLS.
	HTTP3 bool
	DNS   []netip.AddrPort
	// PublicDNS are where the world is answered about public domains; none by default. A wildcard stands for all addresses
	// of the machine but those of loopback and those of DNS.
	PublicDNS []netip.AddrPort
	Proxies   Proxies
	Names     Names
	// Certificates are files and folders of certificates that somebody else gets.
	Certificates []string
	ACME         ACME
	Limits       Limits
	Build        Build
	// Registries has credentials and certificates for image registries.
	Registries Registries
	// AdminGroup is the system group whose members may do everything in micro that root may.
	AdminGroup string
	// API are the addresses on which the API answers other machines; none unless asked for.
	API []APIAddress
	// AdminRole is what the members of AdminGroup may do in the whole cloud: admin by default.
	AdminRole cloud.Role
	Subnet    netip.Prefix
	Overlay   Overlay
	// Join is the token of the cloud that the node joins, if it is in none of several nodes yet.
	Join string
	// Cluster is the address on which the other nodes of the cloud reach this one. The zero value is the address that
	// this machine has towards them, and the default port.
	Cluster netip.AddrPort
	// Worker joins the cloud as a node that other machines can't connect to, behind NAT for example.
	Worker bool
	// Recover makes the node the whole cloud, with what its copy of the store has: all other nodes are lost.
	Recover bool
	// Store is an etcd of the user's own that has the cloud's store; the zero value stands for micro's own.
	Store Store
}

// Keys are the names of all settings: --KEY, MICRO_KEY (in upper case, with _ for -), and KEY in the file.
func Keys() []string {
	return []string{"data", "key", "name", "domain", "http", "https", "public-http", "public-https", "http3", "dns", "public-dns", "dns-upstream", "dns-private", "dns-rate", "trusted-proxies", "proxy-protocol", "subnet", "overlay", "overlay-port", "certs", "acme-directory", "acme-email", "acme-ca", "acme-eab-kid", "acme-eab-key", "api", "admin-group", "admin-role", "log-limit", "audit-lines",
		"registry-config", "registry-certs", "image-size", "upload-size", "upload-files", "disk-free", "build-time", "build-memory", "build-cpu", "build-pids", "build-cache",
		"join", "worker", "cluster", "recover", "store", "store-password", "store-ca", "store-cert", "store-key", "containerd"}
}

// unsupported are settings that are planned but not supported yet. They are refused, never ignored.
var unsupported = map[string]string{
	"containerd": "using the host's containerd",
}

// Source returns the values of a setting and where they come from, for messages. It returns nil if it does not
// have the setting.
type Source func(key string) (values []string, from string)

// lists are the settings with several values, which are separated by commas in an environment variable.
var lists = []string{"certs", "http", "https", "public-http", "public-https", "dns", "public-dns", "dns-upstream", "dns-private", "api", "trusted-proxies", "proxy-protocol"}

// Env returns a source that reads MICRO_* variables with a function such as os.LookupEnv.
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

// Load takes each setting from the first source that has it. Its error lists all invalid values.
func Load(sources ...Source) (Node, error) {
	n := Node{AdminGroup: DefaultAdminGroup, Data: DefaultData, Overlay: Overlay{Mode: cloud.OverlayWireGuard}}
	var errs []error
	for _, key := range Keys() {
		for _, source := range sources {
			values, from := source(key)
			if values == nil {
				continue
			}
			err := n.set(key, values)
			if err == nil && from == "--store" {
				err = n.Store.CheckArgument()
			}
			if err != nil {
				errs = append(errs, atSource(from, err))
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
	errs = append(errs, n.duplicateAddresses()...)
	for _, err := range []error{n.Proxies.check(), n.Store.check(), n.checkWorker()} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return n, cloud.Join(errs...)
}

// checkWorker refuses settings that contradict a worker: it connects to others, over WireGuard, and the cloud chooses where it is
// in the overlay.
func (n *Node) checkWorker() error {
	switch {
	case !n.Worker:
	case n.Overlay.Mode == cloud.OverlayDirect:
		return cloud.Errorf(cloud.Invalid, "direct routes lead to no machine that others can't reach, and a worker is one").WithHint("leave out --overlay direct, on all nodes")
	case n.Cluster.IsValid():
		return cloud.Errorf(cloud.Invalid, "other nodes reach a worker over the overlay, and not at %s", n.Cluster).WithHint("leave out --cluster, or --worker if they do reach it there")
	case n.Subnet.IsValid():
		return cloud.Errorf(cloud.Invalid, "a worker has the subnet that the cloud gives it").WithHint("leave out --subnet")
	}
	return nil
}

// duplicateAddresses returns an error for each address of two listeners. DNS is included, because it listens on
// TCP too.
func (n *Node) duplicateAddresses() (errs []error) {
	seen := map[netip.AddrPort]string{}
	for _, l := range []struct {
		key   string
		addrs []netip.AddrPort
	}{{"http", n.HTTP}, {"https", n.HTTPS}, {"public-http", n.Public}, {"public-https", n.PublicHTTPS}, {"dns", n.DNS}, {"public-dns", n.PublicDNS}} {
		for _, a := range l.addrs {
			before, ok := seen[a]
			switch {
			case a.Port() == 0: // each gets another free port
			case ok:
				errs = append(errs, cloud.Errorf(cloud.Invalid, "address %s is used twice, for %s and %s", a, before, l.key).WithHint("give each a port of its own, for example --%s %s", l.key, netip.AddrPortFrom(a.Addr(), a.Port()+1)))
			default:
				seen[a] = l.key
			}
		}
	}
	return errs
}

// atSource adds to an error where the invalid value comes from.
func atSource(from string, err error) error {
	return cloud.Errorf(cloud.Invalid, "%s: %w", from, err).WithHintOf(err)
}

func (n *Node) set(key string, values []string) error {
	if what, ok := unsupported[key]; ok {
		return cloud.Errorf(cloud.Invalid, "%s is not supported yet", what).WithHint("leave %s out", key)
	}
	last := values[len(values)-1]
	one := strings.TrimSpace(last)
	switch key {
	case "data":
		one = last // not trimmed: a folder's name may begin or end with a space
		if !filepath.IsAbs(one) {
			return cloud.Errorf(cloud.Invalid, "data folder %q is not an absolute path", one).WithHint("for example %s", DefaultData)
		}
		n.Data = filepath.Clean(one)
		if n.Data == "/" {
			return cloud.Errorf(cloud.Invalid, "data folder / is not allowed: micro would close the whole machine to all users but root").WithHint("for example %s", DefaultData)
		}
		return n.checkSocket()
	case "key":
		if !filepath.IsAbs(one) {
			return cloud.Errorf(cloud.Invalid, "key file %q is not an absolute path", one).WithHint("for example %s", DefaultData+keySuffix)
		}
		n.Key = filepath.Clean(one)
	case "name":
		if err := cloud.ProcessName(one).Validate(); err != nil {
			return cloud.Errorf(cloud.Invalid, "invalid node name %q", one).WithHint("lower-case letters, digits and dashes, for example --name node-1")
		}
		n.Name = cloud.NodeName(one)
	case "domain":
		n.Domain = cloud.Domain(strings.TrimSuffix(strings.ToLower(one), "."))
		return n.Domain.Validate()
	case "http":
		return setAddresses(&n.HTTP, values, 80, false)
	case "https":
		return setAddresses(&n.HTTPS, values, 443, false)
	case "public-http":
		return setAddresses(&n.Public, values, 80, true)
	case "public-https":
		return setAddresses(&n.PublicHTTPS, values, 443, true)
	case "http3":
		switch one {
		case "on", "true":
			n.HTTP3 = true
		case "off", "false":
			n.HTTP3 = false
		default:
			return cloud.Errorf(cloud.Invalid, "http3 %q is neither on nor off", last).WithHint("--http3 on, or leave it out")
		}
	case "dns":
		return setAddresses(&n.DNS, values, 53, false)
	case "public-dns":
		return setAddresses(&n.PublicDNS, values, 53, true)
	case "certs":
		for _, v := range values {
			var p string
			if err := setPath(&p, key, v); err != nil {
				return err
			}
			n.Certificates = append(n.Certificates, p)
		}
	case "acme-directory":
		return n.ACME.setDirectory(one)
	case "acme-email":
		return n.ACME.setEmail(one)
	case "acme-ca":
		return setPath(&n.ACME.CA, key, last)
	case "acme-eab-kid":
		n.ACME.KeyID = one
	case "acme-eab-key":
		return setPath(&n.ACME.KeyFile, key, last)
	case "dns-upstream":
		return n.Names.setUpstreams(values)
	case "dns-private":
		return n.Names.setPrivate(values)
	case "dns-rate":
		return n.Names.setRate(one)
	case "trusted-proxies":
		return setNetworks(&n.Proxies.Trusted, key, values)
	case "proxy-protocol":
		return n.Proxies.setProtocol(values)
	case "admin-group":
		if one == "" || strings.ContainsAny(one, ": \t\n,") {
			return cloud.Errorf(cloud.Invalid, "invalid group %q", last).WithHint("the name of a group of this machine, for example --admin-group %s", DefaultAdminGroup)
		}
		n.AdminGroup = one
	case "api":
		return n.setAPI(values)
	case "admin-role":
		n.AdminRole = cloud.Role(one)
		return n.AdminRole.Validate()
	case "log-limit":
		return setSize(&n.Limits.Logs, key, one, 1<<20)
	case "audit-lines":
		return setCount(&n.Limits.AuditLines, key, one, 100)
	case "image-size":
		return setSize(&n.Limits.ImageSize, key, one, 1<<20)
	case "upload-size":
		return setSize(&n.Limits.Upload, key, one, 1<<20)
	case "upload-files":
		return setCount(&n.Limits.Files, key, one, 100)
	case "disk-free":
		return setSize(&n.Limits.DiskFree, key, one, 1<<20)
	case "registry-config":
		return setPath(&n.Registries.Credentials, key, last)
	case "registry-certs":
		return setPath(&n.Registries.Certs, key, last)
	case "build-time":
		return n.Build.setTime(one)
	case "build-memory":
		return setSize(&n.Build.Memory, key, one, 16<<20)
	case "build-cpu":
		return n.Build.setCPU(one)
	case "build-pids":
		return setCount(&n.Build.Pids, key, one, 16)
	case "build-cache":
		return setSize(&n.Build.Cache, key, one, 1<<20)
	case "join":
		n.Join = one
	case "worker":
		switch one {
		case "on", "true":
			n.Worker = true
		case "off", "false":
			n.Worker = false
		default:
			return cloud.Errorf(cloud.Invalid, "worker %q is neither on nor off", last)
		}
	case "recover":
		if one != "lost-all-others" {
			return cloud.Errorf(cloud.Invalid, "recover makes this node the whole cloud: whatever only the other nodes had is lost, and they must never be started again").
				WithHint("if they are lost for good: --recover lost-all-others")
		}
		n.Recover = true
	case "store", "store-password", "store-ca", "store-cert", "store-key":
		return n.Store.Set(key, last)
	case "cluster":
		var addrs []netip.AddrPort
		if err := setAddresses(&addrs, []string{one}, DefaultClusterPort, false); err != nil {
			return err
		}
		n.Cluster = addrs[0]
	case "subnet":
		p, err := netip.ParsePrefix(one)
		if err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 29 || !p.Addr().IsPrivate() {
			return cloud.Errorf(cloud.Invalid, "subnet %q is not a private IPv4 network of /8 to /29", one).WithHint("for example 10.88.0.0/20")
		}
		n.Subnet = p.Masked()
	case "overlay", "overlay-port":
		return n.Overlay.set(key, one)
	}
	return nil
}

// setPath sets the absolute path of a file or folder.
func setPath(to *string, key, value string) error {
	if !filepath.IsAbs(value) {
		return cloud.Errorf(cloud.Invalid, "%s %q is not an absolute path", key, value).WithHint("a path that begins with /")
	}
	*to = filepath.Clean(value)
	return nil
}

// setAddresses parses "IP:port", "IP" or ":port". ":port" is on 127.0.0.1, or with wildcard on every address.
func setAddresses(to *[]netip.AddrPort, values []string, port uint16, wildcard bool) error {
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
			return cloud.Errorf(cloud.Invalid, "address %q is not IP:port", v).WithHint("for example 127.0.0.1:%d", port)
		}
		if a.Addr().IsUnspecified() && !wildcard {
			return cloud.Errorf(cloud.Invalid, "address %s means all addresses of this machine, but internal names need a specific one", a).
				WithHint("for example 127.0.0.1:%d", a.Port())
		}
		*to = append(*to, a)
	}
	return nil
}

// hostName returns the first label of the machine's host name, or "node" if that is not a valid name.
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
