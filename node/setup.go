package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/store/seal"
)

const (
	// secretBytes is the size of the routing secret.
	secretBytes = 32
	// secretPlace is the place of the routing secret, for which it is sealed.
	secretPlace = cloud.RoutingSecretPlace
)

// setUp gives a new cloud its settings, and reads those of an existing one. Settings of an older micro are taken
// from the node's own file.
func (n *Node) setUp(ctx context.Context) error {
	have := n.store.State().Settings()
	want := cloud.Settings{Domain: n.cfg.Domain}
	if have.Domain == "" {
		want.Domain = cmp.Or(n.cfg.Domain, n.chosen.Domain, config.DefaultDomain)
	}
	var err error
	if have.RoutingSecret == "" {
		secret := n.chosen.Secret
		if len(secret) < secretBytes {
			secret = make([]byte, secretBytes)
			rand.Read(secret) // never fails
		}
		if want.RoutingSecret, err = n.keys.Seal(secretPlace, secret); err != nil {
			return err
		}
	}
	state, err := n.store.Update(ctx, cloud.Actor{Name: "micro"}, "init", "cloud", func(s *cloud.State) ([]cloud.Change, error) {
		changes, err := s.Configure(want)
		return append(s.Init(cloud.Stamp{At: time.Now().UTC(), By: "micro"}), changes...), err
	})
	if err != nil {
		return err
	}
	settings := state.Settings()
	n.cfg.Domain, n.addresses.Domain = settings.Domain, settings.Domain
	n.secret, err = n.keys.Open(secretPlace, settings.RoutingSecret)
	return err
}

// registerNode records this node with its capacity, as the only one of the cloud if the cloud has no others. If that node
// has a new name, it keeps the instances that it had under the old name.
func (n *Node) registerNode(ctx context.Context) error {
	const atOnce = kv.MaxOps / 4 // changes per transaction
	if m := n.member.Load(); m != nil {
		if _, ok := n.store.State().Node(m.Node); !ok {
			return cloud.Errorf(cloud.Denied, "node %s was removed from its cloud", m.Node).
				WithHint("to join it again: remove %s, and start with --join and a new token", n.data.Path("cluster"))
		}
	}
	for done := n.member.Load() != nil; !done; {
		_, err := n.store.Update(ctx, cloud.Actor{Name: "micro"}, "init", "node "+string(n.cfg.Name), func(s *cloud.State) ([]cloud.Change, error) {
			changes := s.SoleNode(cloud.Node{Name: n.cfg.Name}, atOnce)
			done = len(changes) < atOnce
			return changes, nil
		})
		if err != nil {
			return err
		}
	}
	_, err := n.store.Update(ctx, cloud.Actor{Name: "micro"}, "init", "node "+string(n.cfg.Name), func(s *cloud.State) ([]cloud.Change, error) {
		return s.RecordStart(n.cfg.Name, machineSize(), n.cfg.Version.Version, store.Readable), nil
	})
	return err
}

// machineSize returns this machine's memory and CPU; memory is 0 if the kernel does not report it.
func machineSize() (size cloud.Capacity) {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		size.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	size.CPU = 1000 * int64(cores())
	return size
}

// openKeys reads the key to the cloud's secrets, and makes one if fresh is set, which means that nothing is sealed
// yet.
func (n *Node) openKeys(fresh bool) (_ store.Sealer, err error) {
	n.keys, err = n.readKeys(fresh)
	return n.keys, err
}

func (n *Node) readKeys(fresh bool) (*seal.Keys, error) {
	path := n.cfg.KeyFile(os.LookupEnv)
	// Resolve links, which may lead into the data folder.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && strings.HasPrefix(dir+"/", n.data.String()+"/") {
		return nil, cloud.Errorf(cloud.Invalid, "key file %s is in the data folder, so that backups of the folder would contain the key", path).WithHint("choose another path with --key")
	}
	keys, err := seal.Load(path)
	if cloud.CodeOf(err) != cloud.NotFound {
		return keys, err
	}
	if !fresh {
		return nil, cloud.Errorf(cloud.Invalid, "the key file %s is missing, and the secrets of this cloud are sealed with it", path).
			WithHint("put it back there, or give its path with --key")
	}
	keys, err = seal.Make(path)
	if err == nil {
		n.log.Info("made the key to the cloud's secrets: keep a copy of it, separate from the backups", "file", path)
	}
	return keys, err
}
