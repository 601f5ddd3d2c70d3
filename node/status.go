package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/node/doctor"
	"github.com/protoduction/micro/node/memory"
	"github.com/protoduction/micro/runtime/network"
)

// status implements handler.Status.
type status struct {
	doctor    doctor.Doctor
	cfg       Config
	started   time.Time
	addresses *addresses.Bound
	net       *network.Network
	snapshots *cloud.Cell
	publicDNS []netip.AddrPort // of the DNS server for the world
	// api are the URLs of the remote API, and fingerprint is of the authority that it shows.
	api         []string
	fingerprint string

	waiting atomic.Pointer[string] // why the node is not ready; nil when it is
}

// setWaiting records why the node is not ready yet; "" marks it ready.
func (s *status) setWaiting(reason string) {
	if reason == "" {
		s.waiting.Store(nil)
		return
	}
	s.waiting.Store(&reason)
}

// Info implements handler.Status.
func (s *status) Info() api.Node {
	info := api.Node{
		Name: s.cfg.Name, Version: s.cfg.Version.Version, Program: programPath(), PID: os.Getpid(), Data: s.cfg.Data, Domain: s.cfg.Domain,
		Socket: s.doctor.Data.Path(socketFile), Gateway: s.net.Gateway().String(), Subnet: s.net.Subnet().String(),
		Started: s.started.UTC(), Memory: memory.Resident(), HTTP: []string{}, HTTPS: []string{}, Public: []string{}, PublicHTTPS: []string{}, DNS: []string{},
	}
	for _, a := range s.addresses.Internal {
		info.HTTP = append(info.HTTP, a.String())
	}
	for _, a := range s.addresses.Secure {
		info.HTTPS = append(info.HTTPS, a.String())
	}
	for _, ln := range s.addresses.Public {
		info.Public = append(info.Public, ln.Addr().String())
	}
	for _, ln := range s.addresses.PublicHTTPS {
		info.PublicHTTPS = append(info.PublicHTTPS, ln.Addr().String())
	}
	info.API, info.Fingerprint = s.api, s.fingerprint
	for _, a := range s.cfg.DNS {
		info.DNS = append(info.DNS, a.String())
	}
	for _, a := range s.publicDNS {
		info.PublicDNS = append(info.PublicDNS, a.String())
	}
	if loss := s.doctor.StoreLoss(); loss != "" {
		info.Warnings = append(info.Warnings, loss)
	}
	if s.cfg.Recover {
		info.Warnings = append(info.Warnings, "this node was told to be the whole cloud: changes that only the other nodes had are lost, and so are the volumes there. Leave out --recover at the next start")
	}
	if w := s.waiting.Load(); w != nil {
		info.Waiting = *w
	} else {
		info.Ready = true
	}
	return info
}

// Doctor implements handler.Status.
func (s *status) Doctor(ctx context.Context) []api.Check { return s.doctor.Examine(ctx) }

// line returns the status in one line, for systemd.
func (s *status) line() string {
	view, apps := s.snapshots.View(), 0
	for range view.State.Apps("") {
		apps++
	}
	return fmt.Sprintf("apps: %d, instances: %d, on %s", apps, view.Instances.Len(), s.addresses.Internal[0])
}
