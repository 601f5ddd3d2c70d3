package handler

import "github.com/protoduction/micro/cloud"

// Ports are the TCP ports of a node that are routed.
type Ports interface {
	// Check reports why the node can't listen on a port that is not routed yet.
	Check(port uint16, public bool) error
	// Fault reports why the node does not listen on a port that is routed; nil where it does.
	Fault(port uint16) error
}

// checkPort reports why a port can't be mapped.
func (h *Handler) checkPort(s *cloud.State, host cloud.Host, public bool) error {
	port := host.Port()
	if port == 0 || h.Ports == nil {
		return nil
	}
	if was, known := s.VirtualHost(host); known && (!public || was.Exposure == cloud.ExposedPublic) {
		return nil // it is the router's
	}
	return h.Ports.Check(port, public)
}

// portFault reports why the connections of a mapped port don't reach the router.
func (h *Handler) portFault(host cloud.Host) error {
	if port := host.Port(); port != 0 && h.Ports != nil {
		return h.Ports.Fault(port)
	}
	return nil
}
