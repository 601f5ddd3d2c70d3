package datadir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"

	"github.com/protoduction/micro/cloud"
)

// Choices are what a node chose by itself and keeps to: clients have been set up for them.
type Choices struct {
	Name   cloud.NodeName   `json:"name"`
	HTTP   []netip.AddrPort `json:"http"`
	HTTPS  []netip.AddrPort `json:"https,omitempty"`
	DNS    []netip.AddrPort `json:"dns"`
	Subnet netip.Prefix     `json:"subnet"`
	Domain cloud.Domain     `json:"domain"` // for programs beside micro; the cloud's settings have it
	// Secret is the cloud's routing secret as older versions kept it. It is read once, when the cloud gets
	// its settings, and not written any more.
	Secret []byte `json:"secret,omitempty"`
}

// Choices returns what the node chose when it last ran; nothing of a new node.
func (d *Dir) Choices() (c Choices, err error) {
	b, err := os.ReadFile(d.Path("node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, cloud.Errorf(cloud.Invalid, "cannot read what the node chose last time: %w", err).WithHint("remove %s, and the node chooses anew", d.Path("node.json"))
	}
	return c, nil
}

// Remember writes the choices so that they are there wholly or not at all. What is there already is not
// written again: a node must start on a full disk.
func (d *Dir) Remember(c Choices) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(d.Path("node.json")); err == nil && string(old) == string(b)+"\n" {
		return nil
	}
	tmp := d.Path("node.json.new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write to the data folder: %w", err)
	}
	return os.Rename(tmp, d.Path("node.json"))
}
