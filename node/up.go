package node

import (
	"context"
	"errors"
	"os"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/succession"
	"github.com/protoduction/micro/runtime/engine"
)

// Up runs a node until ctx ends or the node is taken down, and calls ready when it answers requests.
func Up(ctx context.Context, cfg Config, ready func(api.Node)) error {
	if before := succession.Replaces(); before != "" {
		cfg.Log.Info("this program has taken the place of another one", "version", cfg.Version.Version, "before", before)
		if err := succession.ReapInherited(); err != nil {
			cfg.Log.Warn("ended processes of the program before this one may stay as zombies", "err", err)
		}
	}
	n, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	err = n.Run(ctx, func() { ready(n.status.Info()) })
	if _, ok := errors.AsType[errSucceeded](err); !ok {
		return err
	}
	env, err := n.sockets.Leave()
	if err != nil {
		return err
	}
	return succession.Exec(n.program, cfg.Version.Version, []string{env})
}

// Down removes from this machine what a node that no longer runs has left: its running apps, its network and its
// folders in memory. The data stays.
func Down(ctx context.Context, cfg Config) error {
	if os.Geteuid() != 0 {
		return cloud.Errorf(cloud.Denied, "micro down must be run as root").WithCommand("sudo micro down")
	}
	if _, err := os.Stat(cfg.Data); errors.Is(err, os.ErrNotExist) {
		return cloud.Errorf(cloud.NotFound, "no node has its data in %s", cfg.Data).WithHint("give the data folder with --data")
	}
	n := newNode(cfg)
	n.Down()
	defer n.release()
	if err := n.openData(ctx); err != nil {
		return err
	}
	if err := n.openNetworkOnly(); err != nil {
		return n.giveUp(err)
	}
	if n.fresh {
		return n.giveUp(nil) // the node is already down
	}
	if err := n.openDriver(ctx, engine.StateDir(n.cfg.Data)); err != nil {
		return err
	}
	return n.leave()
}
