package containers

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/network"
)

// writeFiles makes the files by which a container knows itself and its resolver. They belong to its
// root, who may change them, as he may anywhere: so they are where his other files are, on the disk. On
// the tmpfs he could fill up what every start of a container needs.
func (d *Driver) writeFiles(c runtime.Container, ep network.Endpoint, gateway netip.Addr) error {
	folder := d.etc(c.ID)
	for _, dir := range []string{d.folder(c.ID), folder} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("its files: %w", err)
		}
	}
	name := hostname(c)
	resolv := fmt.Sprintf("nameserver %s\n", gateway)
	if len(c.Search) > 0 {
		resolv += "search " + strings.Join(c.Search, " ") + "\n"
	}
	base := int(network.Base(c.Tenant))
	for file, text := range map[string]string{
		"hostname":    name + "\n",
		"hosts":       fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t%s\n", ep.IP, name),
		"resolv.conf": resolv,
	} {
		file = filepath.Join(folder, file)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return fmt.Errorf("its files: %w", err)
		}
		if err := os.Chmod(file, 0o644); err != nil { // whatever the umask is
			return fmt.Errorf("its files: %w", err)
		}
		if err := os.Chown(file, base, base); err != nil {
			return fmt.Errorf("its files: %w", err)
		}
	}
	return nil
}
