package containers

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine/shim"
	"github.com/protoduction/micro/runtime/network"
)

// secretsFile is the file in a container's folder that has its secrets, as a list of K=V, until its process is made.
// The folder is in memory. containerd keeps a container's specification on the disk, so the secrets are not in it: the
// shim adds them to the bundle's, and takes them out of that again (shim.Secrets).
func (d *Driver) secretsFile(id string) string { return shim.SecretsFile(d.engine.State(), id) }

func (d *Driver) writeSecrets(c runtime.Container) error {
	if len(c.Secrets) == 0 {
		return nil
	}
	if err := os.MkdirAll(d.folder(c.ID), 0o711); err != nil {
		return fmt.Errorf("its secrets: %w", err)
	}
	return writeJSON(d.secretsFile(c.ID), c.Secrets)
}

// markFenced tells the shim that the container must end when the node may have lost its lease.
func (d *Driver) markFenced(c runtime.Container) error {
	if !c.Fenced {
		return nil
	}
	file := shim.FencedFile(d.engine.State(), c.ID)
	if err := errors.Join(os.MkdirAll(d.folder(c.ID), 0o711), os.WriteFile(file, nil, 0o600)); err != nil {
		return fmt.Errorf("its fence: %w", err)
	}
	return nil
}

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
