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

// Config has the paths of the host's configuration of registries.
type Config struct {
	CertsDir     string // folder with <host>/hosts.toml; "" is /etc/containerd/certs.d
	DockerConfig string // Docker's config.json; "" is $DOCKER_CONFIG/config.json or ~/.docker/config.json
	// CheckOutside returns an error for an address that only this machine can reach. Such addresses are connected to
	// only if the files above name the registry. It is nil if something else prevents that, such as a firewall.
	CheckOutside func(netip.Addr) error
}

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 30 * time.Second // time until a registry starts to answer
)

// Hosts returns a function that finds the servers of a registry, in the order in which to try them. A registry on
// localhost may use plain HTTP.
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
