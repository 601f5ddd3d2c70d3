package hostdns

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Setup configures a machine's resolver to ask Server for Domain and all names below it.
type Setup struct {
	Domain cloud.Domain
	Server netip.AddrPort
}

func (s Setup) validate() error {
	if err := s.Domain.Validate(); err != nil {
		return err
	}
	if !s.Server.IsValid() || s.Server.Port() == 0 || s.Server.Addr().IsUnspecified() {
		return cloud.Errorf(cloud.Invalid, "invalid DNS server %s: it needs an address and a port", s.Server).WithHint("for example --server 127.0.0.1:53")
	}
	return nil
}

const (
	notePrefix = "# Made by micro dns install for "
	folderNote = "# Its folder was made with it."
)

// note returns the first line of each file that we write.
func (s Setup) note() string {
	return fmt.Sprintf("%s%s at %s; micro dns uninstall removes it.\n", notePrefix, s.Domain, s.Server)
}

// readNote returns the setup that a file was made for, or false if we did not write it.
func readNote(text string) (s Setup, ok bool) {
	line, _, _ := strings.Cut(text, "\n")
	rest, ok := strings.CutPrefix(line, notePrefix)
	domain, rest, cut := strings.Cut(rest, " at ")
	server, _, _ := strings.Cut(rest, ";")
	addr, err := netip.ParseAddrPort(server)
	return Setup{cloud.Domain(domain), addr}, ok && cut && err == nil
}
