package child

import (
	"context"
	"fmt"
	"net"
	"os"

	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/runtime/build"
)

// sandboxes gets a network for each step from the node. Each network has a connection to the node's socket. The node removes
// the network when the connection is closed, also by the end of this process.
type sandboxes struct{ socket string }

var _ network.Provider = sandboxes{}

func (sandboxes) Close() error { return nil }

func (s sandboxes) New(ctx context.Context, _ string, _ network.NamespaceOptions) (network.Namespace, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.socket)
	if err != nil {
		return nil, fmt.Errorf("request a network: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	netns, userns, err := build.ReceiveNetwork(conn.(*net.UnixConn))
	if !stop() && err == nil {
		netns.Close()
		userns.Close()
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("request a network: %w", err)
	}
	return &sandbox{conn: conn, netns: netns, userns: userns}, nil
}

type sandbox struct {
	conn          net.Conn
	netns, userns *os.File
}

// Set implements network.Namespace. It uses file descriptors, because the paths of the namespaces may not be visible in this
// process.
func (s *sandbox) Set(spec *specs.Spec) error {
	join(spec, specs.NetworkNamespace, s.netns)
	join(spec, specs.UserNamespace, s.userns)
	return nil
}

func join(spec *specs.Spec, kind specs.LinuxNamespaceType, f *os.File) {
	// runc takes a number after /proc/ for a process in the namespace, whatever follows.
	path := fmt.Sprintf("/proc/./%d/fd/%d", os.Getpid(), f.Fd())
	for i, ns := range spec.Linux.Namespaces {
		if ns.Type == kind {
			spec.Linux.Namespaces[i].Path = path
			return
		}
	}
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

func (s *sandbox) Close() error {
	s.netns.Close()
	s.userns.Close()
	return s.conn.Close()
}

func (s *sandbox) Sample() (*resourcestypes.NetworkSample, error) { return nil, nil }
