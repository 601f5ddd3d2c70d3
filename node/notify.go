package node

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd of the node's state (sd_notify(3)); nothing where systemd did not start it.
func (n *Node) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("cannot tell systemd", "state", state, "err", err)
	}
}

// watchdog pings systemd as often as it asked for, as long as the store can be read.
func (n *Node) watchdog(ctx context.Context) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.notify(daemon.SdNotifyWatchdog)
		case <-ctx.Done():
			return nil
		}
	}
}
