package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/memory"
)

// Doctor implements the API's handler.Status: it tries what apps and people need, one after the other.
func (n *Node) Doctor(ctx context.Context) []api.Check {
	return []api.Check{
		n.checkDisk(), n.checkDNS(ctx), n.checkResolver(ctx), n.checkForwarding(), n.checkLimits(), n.checkMemory(), n.checkApps(),
	}
}

func check(name string, status api.CheckStatus, hint, format string, args ...any) api.Check {
	return api.Check{Name: name, Status: status, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func (n *Node) checkDisk() api.Check {
	var st syscall.Statfs_t
	if err := syscall.Statfs(n.cfg.Data, &st); err != nil {
		return check("disk", api.Fail, "", "cannot look at %s: %v", n.cfg.Data, err)
	}
	free, percent := int64(st.Bavail)*st.Bsize, 100*st.Bavail/max(st.Blocks, 1)
	probe := n.data.Path(".doctor")
	if err := os.WriteFile(probe, []byte("x"), 0o600); err != nil {
		return check("disk", api.Fail, "micro df, micro prune", "cannot write to %s: %v", n.cfg.Data, err)
	}
	os.Remove(probe)
	status := api.OK
	if free < 2<<30 || percent < 5 {
		status = api.Warn
	}
	return check("disk", status, "micro df, micro prune", "%d MB free on %s, %d %%", free>>20, n.cfg.Data, percent)
}

// checkDNS asks the node's own server for its own name.
func (n *Node) checkDNS(ctx context.Context) api.Check {
	name := string(n.cfg.Domain.API())
	at := n.cfg.DNS[0]
	addrs, err := lookup(ctx, at, name)
	if err != nil {
		return check("dns", api.Fail, "", "%s does not answer for %s: %v", at, name, err)
	}
	return check("dns", api.OK, "", "%s answers that %s is %s", at, name, strings.Join(addrs, ", "))
}

// checkResolver asks the machine's own resolver for the same.
func (n *Node) checkResolver(ctx context.Context) api.Check {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	name := string(n.cfg.Domain.API())
	if _, err := net.DefaultResolver.LookupHost(ctx, name); err != nil {
		return check("resolver", api.Warn, fmt.Sprintf("browsers and curl know names under localhost without; for others ask %s for %s", n.cfg.DNS[0], n.cfg.Domain),
			"this machine's resolver does not know %s", name)
	}
	return check("resolver", api.OK, "", "this machine's resolver knows %s", name)
}

func lookup(ctx context.Context, server netip.AddrPort, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.String())
	}}
	return r.LookupHost(ctx, name+".")
}

func (n *Node) checkForwarding() api.Check {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil || strings.TrimSpace(string(b)) != "1" {
		return check("network", api.Fail, "sysctl -w net.ipv4.ip_forward=1", "the machine forwards no packets: apps have no way out")
	}
	if n.gatewayTaken != nil {
		return check("network", api.Warn, "have the other one listen on its own addresses instead of all, and restart micro",
			"containers don't reach the router: %v", n.gatewayTaken)
	}
	return check("network", api.OK, "", "instances have %s, the node is %s", n.net.Subnet(), n.net.Gateway())
}

func (n *Node) checkLimits() api.Check {
	by, err := n.driver.Limits()
	if err != nil {
		return check("limits", api.Fail, cloud.HintOf(err), "%v", err)
	}
	return check("limits", api.OK, "", "%s", by)
}

func (n *Node) checkMemory() api.Check {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return check("memory", api.Warn, "", "cannot ask for the machine's memory: %v", err)
	}
	total := int64(info.Totalram) * int64(info.Unit)
	var limits int64
	state := n.snapshots.View().State
	for rel := range state.AllReleases() {
		if state.Runs(rel) {
			for _, s := range rel.Formation {
				limits += s.Memory * int64(s.Instances)
			}
		}
	}
	if limits > total {
		return check("memory", api.Warn, "micro scale APP -m SIZE", "apps may use %d MB, and the machine has %d MB", limits>>20, total>>20)
	}
	return check("memory", api.OK, "", "apps may use %d of %d MB, the node itself uses %d MB", limits>>20, total>>20, memory.Resident()>>20)
}

func (n *Node) checkApps() api.Check {
	view := n.snapshots.View()
	var down []string
	for app := range view.State.Apps("") {
		rel, ok := view.State.Release(app.Release(0))
		if !ok || !view.State.Runs(rel) || rel.Formation["web"].Instances == 0 {
			continue
		}
		if len(view.Pool(rel.ReleaseRef)) == 0 {
			down = append(down, rel.ReleaseRef.String())
		}
	}
	if len(down) > 0 {
		return check("apps", api.Fail, "micro ps "+down[0][:strings.IndexByte(down[0], '@')], "no instance is ready of %s", strings.Join(down, ", "))
	}
	return check("apps", api.OK, "", "every app that is to run has a ready instance")
}
