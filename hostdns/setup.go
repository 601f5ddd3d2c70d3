package hostdns

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Setup is what a machine's resolver is to do: ask Server for Domain and all names below it.
type Setup struct {
	Domain cloud.Domain
	Server netip.AddrPort
}

func (s Setup) validate() error {
	if err := s.Domain.Validate(); err != nil {
		return err
	}
	if !s.Server.IsValid() || s.Server.Port() == 0 || s.Server.Addr().IsUnspecified() {
		return cloud.Errorf(cloud.Invalid, "DNS server %s is not an address and a port", s.Server).WithHint("for example --server 127.0.0.1:53")
	}
	return nil
}

const (
	madeFor    = "# Made by micro dns install for "
	madeFolder = "# Its folder was made with it."
)

// note is the first line of each file of ours.
func (s Setup) note() string {
	return fmt.Sprintf("%s%s at %s; micro dns uninstall removes it.\n", madeFor, s.Domain, s.Server)
}

// readNote returns the setup that a file of ours was made for; false where it is not ours.
func readNote(text string) (s Setup, ok bool) {
	line, _, _ := strings.Cut(text, "\n")
	rest, ok := strings.CutPrefix(line, madeFor)
	domain, rest, cut := strings.Cut(rest, " at ")
	server, _, _ := strings.Cut(rest, ";")
	addr, err := netip.ParseAddrPort(server)
	return Setup{cloud.Domain(domain), addr}, ok && cut && err == nil
}
