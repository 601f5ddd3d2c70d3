package config

import (
	"strconv"

	"github.com/protoduction/micro/cloud"
)

// Overlay says how other nodes of the cloud reach this node's instances.
type Overlay struct {
	Mode cloud.OverlayMode // WireGuard by default
	Port uint16            // UDP, of WireGuard; 0 lets the node choose
}

func (o *Overlay) set(key, value string) (err error) {
	if key == "overlay" {
		o.Mode, err = cloud.ParseOverlayMode(value)
		return err
	}
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		return cloud.Errorf(cloud.Invalid, "%s %q is not a port from 1 to 65535", key, value).WithHint("for example --%s 51820", key)
	}
	o.Port = uint16(port)
	return nil
}
