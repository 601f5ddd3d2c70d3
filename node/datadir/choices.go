package datadir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/durable"
)

// Choices are values that a node chose itself. It uses them again at each start, because clients have been
// configured with them.
type Choices struct {
	Name   cloud.NodeName   `json:"name"`
	HTTP   []netip.AddrPort `json:"http"`
	HTTPS  []netip.AddrPort `json:"https,omitempty"`
	DNS    []netip.AddrPort `json:"dns"`
	Subnet netip.Prefix     `json:"subnet"`
	// OverlayPort is the UDP port of WireGuard.
	OverlayPort uint16       `json:"overlay_port,omitempty"`
	Domain      cloud.Domain `json:"domain"` // only for other programs; micro takes it from the cloud's settings
	// Secret is the cloud's routing secret as older versions stored it. It is read when the cloud gets its
	// settings, and never written.
	Secret []byte `json:"secret,omitempty"`
}

// Choices returns the choices of the last start; they are empty for a new node.
func (d *Dir) Choices() (c Choices, err error) {
	b, err := os.ReadFile(d.Path("node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, cloud.Errorf(cloud.Invalid, "cannot read the node's choices of its last start: %w", err).WithHint("remove %s, and the node will choose again", d.Path("node.json"))
	}
	return c, nil
}

// SaveChoices writes the choices atomically. It does not write if they have not changed, because a node must be
// able to start on a full disk.
func (d *Dir) SaveChoices(c Choices) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(d.Path("node.json")); err == nil && string(old) == string(b)+"\n" {
		return nil
	}
	if err := durable.WriteFile(d.Path("node.json"), append(b, '\n')); err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write to the data folder: %w", err)
	}
	return nil
}
