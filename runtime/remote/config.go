package remote

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
)

// Config says where the host keeps what it knows of registries.
type Config struct {
	CertsDir     string // folder of <host>/hosts.toml; "" is /etc/containerd/certs.d
	DockerConfig string // Docker's config.json; "" is $DOCKER_CONFIG/config.json, else ~/.docker/config.json
	// CheckOutside returns an error for an address that only this machine reaches. Connections are made there only if
	// one of the above names the registry. It is nil where something else stands in the way, such as a firewall.
	CheckOutside func(netip.Addr) error
}

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 30 * time.Second // until a registry starts to answer
)

// Hosts finds the servers that stand for a registry's name, in the order to try. A registry on localhost
// may speak plain HTTP.
func (c Config) Hosts(ctx context.Context) docker.RegistryHosts {
	w := newWall(c)
	return withPlain(w.admit(config.ConfigureHosts(ctx, config.HostOptions{
		HostDir:     config.HostDirFromRoot(c.certsDir()),
		Credentials: c.Credentials,
		UpdateClient: func(client *http.Client) error {
			if t, ok := client.Transport.(*http.Transport); ok {
				t.DialContext = w.dial
				t.ResponseHeaderTimeout = headerTimeout
			}
			return nil
		},
	})))
}

func (c Config) certsDir() string {
	if c.CertsDir != "" {
		return c.CertsDir
	}
	return "/etc/containerd/certs.d"
}

func (c Config) dockerConfig() string {
	if c.DockerConfig != "" {
		return c.DockerConfig
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	return filepath.Join(home, ".docker", "config.json")
}
