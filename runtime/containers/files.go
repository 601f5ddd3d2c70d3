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

// writeFiles writes a container's hostname, hosts and resolv.conf. They belong to the container's root, who may change
// them, so they are on the disk like its other files: on the tmpfs, a container could use up the memory that every start
// of a container needs.
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
		if err := os.Chmod(file, 0o644); err != nil { // independent of the umask
			return fmt.Errorf("its files: %w", err)
		}
		if err := os.Chown(file, base, base); err != nil {
			return fmt.Errorf("its files: %w", err)
		}
	}
	return nil
}
