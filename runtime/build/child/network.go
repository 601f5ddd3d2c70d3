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

// sandboxes gives each step a network that the node makes. A connection to the node's socket stands for
// a network: when it is closed, by us or by our end, the node takes the network away.
type sandboxes struct{ socket string }

var _ network.Provider = sandboxes{}

func (sandboxes) Close() error { return nil }

func (s sandboxes) New(ctx context.Context, _ string, _ network.NamespaceOptions) (network.Namespace, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.socket)
	if err != nil {
		return nil, fmt.Errorf("ask for a network: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	netns, err := build.ReceiveNetwork(conn.(*net.UnixConn))
	if !stop() && err == nil {
		netns.Close()
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask for a network: %w", err)
	}
	return &sandbox{conn: conn, netns: netns}, nil
}

type sandbox struct {
	conn  net.Conn
	netns *os.File
}

// Set joins the namespace by its descriptor: the path that the node knows it by need not be visible here.
func (s *sandbox) Set(spec *specs.Spec) error {
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.netns.Fd())
	for i, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			spec.Linux.Namespaces[i].Path = path
			return nil
		}
	}
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path})
	return nil
}

func (s *sandbox) Close() error {
	s.netns.Close()
	return s.conn.Close()
}

func (s *sandbox) Sample() (*resourcestypes.NetworkSample, error) { return nil, nil }
