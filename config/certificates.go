package config

import (
	"net/url"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// ACME is whom the node asks for certificates of public hosts, and how. Zero fields are the default.
type ACME struct {
	Directory string // URL; "" is Let's Encrypt
	Email     string
	CA        string // file with the authorities that may vouch for the directory
	KeyID     string // of an account that the authority has already
	KeyFile   string // with that account's key
}

// setDirectory reads the URL of a directory, or "letsencrypt".
func (a *ACME) setDirectory(s string) error {
	if s == "letsencrypt" {
		a.Directory = ""
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return cloud.Errorf(cloud.Invalid, "acme-directory %q is no https URL", s).WithHint("for example https://ca.example.com/acme/directory; letsencrypt is the default")
	}
	a.Directory = s
	return nil
}

// setEmail reads an address that an authority may write to.
func (a *ACME) setEmail(s string) error {
	name, host, ok := strings.Cut(s, "@")
	if !ok || name == "" || host == "" || strings.ContainsAny(s, " ,<>\"") {
		return cloud.Errorf(cloud.Invalid, "acme-email %q is no address", s).WithHint("for example admin@example.com")
	}
	a.Email = s
	return nil
}
