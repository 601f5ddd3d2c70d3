package cloud

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// ExternalStore is an etcd that the user runs and that has the store of a cloud. The nodes are its clients and run no etcd
// of their own. The zero value stands for none.
type ExternalStore struct {
	Endpoints []string `json:"endpoints,omitempty"` // HOST:PORT
	// Prefix is what all keys of the cloud begin with. It begins and ends with a slash.
	Prefix   string `json:"prefix,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	TLS      bool   `json:"tls,omitempty"`
	// CA, Cert and Key are PEM: who vouches for etcd, "" for the machine's authorities, and what the nodes show to it.
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
}

const (
	externalPort   = "2379" // that etcd's clients use
	externalPrefix = "micro"
)

var externalPrefixes = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)

// ParseExternalStore reads etcd://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PREFIX], and etcds:// for TLS. No error shows
// the password.
func ParseExternalStore(text string) (x ExternalStore, err error) {
	const example = "for example etcd://10.0.0.5:2379,10.0.0.6:2379/micro, and etcds:// for TLS"
	scheme, rest, _ := strings.Cut(text, "://")
	if scheme != "etcd" && scheme != "etcds" {
		return x, Errorf(Invalid, "a store begins with etcd:// or etcds://").WithHint(example)
	}
	x.TLS = scheme == "etcds"
	authority, prefix, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		x.User, err = url.PathUnescape(user)
		if err == nil {
			x.Password, err = url.PathUnescape(password)
		}
		if err != nil || x.User == "" {
			return ExternalStore{}, Errorf(Invalid, "the user and password of the store cannot be read").WithHint("write special characters as %%XX, for example %%40 for @")
		}
		authority = authority[at+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), externalPort
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || name == "" || strings.ContainsAny(name, " /?#@[]") {
			return ExternalStore{}, Errorf(Invalid, "the store's address %q is not HOST:PORT", host).WithHint(example)
		}
		x.Endpoints = append(x.Endpoints, net.JoinHostPort(name, port))
	}
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		prefix = externalPrefix
	}
	if !externalPrefixes.MatchString(prefix) {
		return ExternalStore{}, Errorf(Invalid, "the store's prefix %q has other characters than letters, digits, dots, hyphens and slashes", prefix).WithHint(example)
	}
	x.Prefix = "/" + prefix + "/"
	return x, nil
}

// IsZero reports whether there is no such store.
func (x ExternalStore) IsZero() bool { return len(x.Endpoints) == 0 }

// String returns where the store is. It has no secret in it.
func (x ExternalStore) String() string {
	scheme := "etcd://"
	if x.TLS {
		scheme = "etcds://"
	}
	return scheme + strings.Join(x.Endpoints, ",") + strings.TrimSuffix(x.Prefix, "/")
}

// GoString is the same for %#v.
func (x ExternalStore) GoString() string { return x.String() }
