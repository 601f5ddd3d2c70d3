package cli

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/hostdns"
)

var domainFlag = &urfave.StringFlag{Name: "domain", Usage: "names under `DOMAIN` (default the node's)"}

func (c *command) dns() *urfave.Command {
	server := &urfave.StringFlag{Name: "server", Usage: "ask the DNS server at `IP:PORT` (default the node's)"}
	method := &urfave.StringFlag{Name: "method", Usage: "by `METHOD` (default what fits the machine)"}
	install := c.new("install", "", "make this machine's resolver ask the node for its names", 0, 0, []urfave.Flag{domainFlag, server, method}, c.dnsInstall)
	uninstall := c.new("uninstall", "", "undo what micro dns install did", 0, 0, []urfave.Flag{
		&urfave.StringFlag{Name: "domain", Usage: "only names under `DOMAIN` (default all that were set up)"},
	}, c.dnsUninstall)
	status := c.new("status", "", "follow a name from this machine's resolver to the node's router", 0, 0, []urfave.Flag{domainFlag, server, jsonFlag}, c.dnsStatus)
	return &urfave.Command{
		Name: "dns", Usage: "set up this machine's resolver for the node's names", Subcommands: []*urfave.Command{install, uninstall, status},
		HideHelpCommand: true, OnUsageError: usageError,
		Action: func(u *urfave.Context) error { return urfave.ShowSubcommandHelp(u) },
	}
}

// dnsWay is the way that names go: by flags, else as the node has it. known is false where no node answers.
func (c *command) dnsWay(u *urfave.Context) (way hostdns.Target, known bool, err error) {
	way.Domain = cloud.Domain(strings.TrimSuffix(strings.ToLower(u.String("domain")), "."))
	if s := u.String("server"); s != "" {
		if way.Server, err = netip.ParseAddrPort(s); err != nil {
			ip, ipErr := netip.ParseAddr(s)
			if ipErr != nil {
				return way, false, cloud.Errorf(cloud.Invalid, "server %q is not an address and a port", s).WithHint("for example --server 127.0.0.1:53")
			}
			way.Server = netip.AddrPortFrom(ip, 53)
		}
	}
	node, err := c.askNode(u.Context)
	if err != nil {
		if way.Domain != "" && way.Server.IsValid() && cloud.CodeOf(err) == cloud.Unavailable {
			return way, false, nil
		}
		return way, false, err
	}
	if way.Domain == "" {
		way.Domain = node.Domain
	}
	if !way.Server.IsValid() {
		if way.Server, err = c.serverOf(node); err != nil {
			return way, true, err
		}
	}
	for _, text := range node.HTTP[:min(1, len(node.HTTP))] {
		if a, err := netip.ParseAddrPort(text); err == nil {
			way.HTTP = a.Port()
		}
	}
	return way, true, nil
}

// askNode gets the node's own description, in a short time.
func (c *command) askNode(ctx context.Context) (api.Node, error) {
	client, err := c.client()
	if err != nil {
		return api.Node{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Node(ctx)
}

// serverOf returns the address of a node's DNS server as this machine reaches it: by loopback where the node
// is here, by another one where it is elsewhere.
func (c *command) serverOf(node api.Node) (netip.AddrPort, error) {
	target, _ := c.Env("MICRO_TARGET")
	elsewhere := strings.HasPrefix(target, "ssh://")
	var all []netip.AddrPort
	for _, text := range node.DNS {
		if a, err := netip.ParseAddrPort(text); err == nil && !(elsewhere && a.Addr().IsLoopback()) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return netip.AddrPort{}, cloud.Errorf(cloud.Conflict, "the node's DNS server is at %s, which this machine cannot reach", strings.Join(node.DNS, ", ")).
			WithHint("start the node with --dns and --http at an address of its network, or give --server")
	}
	if i := slices.IndexFunc(all, func(a netip.AddrPort) bool { return a.Addr().IsLoopback() }); i >= 0 {
		return all[i], nil
	}
	return all[0], nil
}

func (c *command) dnsInstall(u *urfave.Context) error {
	way, known, err := c.dnsWay(u)
	if err != nil {
		return err
	}
	h := hostdns.ThisMachine()
	method := hostdns.Method("")
	if m := u.String("method"); m != "" {
		method, err = hostdns.ParseMethod(m)
	} else {
		method = h.Detect(u.Context)
	}
	if err != nil {
		return err
	}
	steps, err := h.Install(u.Context, method, way.Setup)
	if err != nil {
		return err
	}
	if err := c.apply(u.Context, h, steps); err != nil {
		return err
	}
	c.print("names under %s are now resolved by %s: %s", way.Domain, way.Server, method.Describe())
	if !known {
		return nil
	}
	// A resolver that was restarted needs a moment.
	limit := time.After(5 * time.Second)
	hops := hostdns.Trace(u.Context, way)
	for waiting := true; waiting && hostdns.FirstError(hops) != nil; hops = hostdns.Trace(u.Context, way) {
		select {
		case <-u.Context.Done():
			return u.Context.Err()
		case <-limit:
			waiting = false
		case <-time.After(250 * time.Millisecond):
		}
	}
	c.printDNSHops(hops)
	return hostdns.FirstError(hops)
}

// apply does the steps, and says each.
func (c *command) apply(ctx context.Context, h *hostdns.Host, steps []hostdns.Step) error {
	if err := h.Apply(ctx, steps); err != nil {
		return err
	}
	for _, s := range steps {
		c.say("done: %s", s)
	}
	return nil
}

func (c *command) dnsUninstall(u *urfave.Context) error {
	h := hostdns.ThisMachine()
	domains, err := h.Domains()
	if err != nil {
		return err
	}
	if u.IsSet("domain") {
		domains = []cloud.Domain{cloud.Domain(strings.TrimSuffix(strings.ToLower(u.String("domain")), "."))}
	} else if !slices.Contains(domains, config.DefaultDomain) {
		domains = append(domains, config.DefaultDomain) // a link needs no file
	}
	done := false
	for _, d := range domains {
		steps, err := h.Uninstall(d)
		if err != nil {
			return err
		}
		if len(steps) == 0 {
			continue
		}
		if err := c.apply(u.Context, h, steps); err != nil {
			return err
		}
		c.print("this machine's resolver no longer asks a node for %s", d)
		done = true
	}
	if !done {
		c.print("nothing to undo: micro dns install was not used here")
	}
	return nil
}

// dnsReport is what dns status prints as JSON.
type dnsReport struct {
	Domain  cloud.Domain   `json:"domain"`
	Server  string         `json:"server" doc:"The node's DNS server, IP:port"`
	Method  hostdns.Method `json:"method" doc:"How micro dns install would set up this machine"`
	Set     hostdns.Method `json:"set_up,omitempty" doc:"How this machine is set up; missing: it is not"`
	SetFor  string         `json:"set_up_server,omitempty" doc:"The DNS server that it is set up for"`
	Hops    []dnsHop       `json:"hops"`
	Working bool           `json:"works" doc:"A name under the domain reaches the node's router"`
}

// dnsHop is one step from a name to the node's router.
type dnsHop struct {
	Name   string          `json:"name"`
	Status api.CheckStatus `json:"status" enum:"ok,fail"`
	Text   string          `json:"text"`
	Hint   string          `json:"hint,omitempty" doc:"What to try next"`
}

func (c *command) dnsStatus(u *urfave.Context) error {
	way, _, err := c.dnsWay(u)
	if err != nil {
		return err
	}
	h := hostdns.ThisMachine()
	set, setup, err := h.Installed(way.Domain)
	if err != nil {
		return err
	}
	report := dnsReport{Domain: way.Domain, Server: way.Server.String(), Method: h.Detect(u.Context), Set: set}
	if set != "" && setup.Server.IsValid() {
		report.SetFor = setup.Server.String()
	}
	hops := hostdns.Trace(u.Context, way)
	broken := hostdns.FirstError(hops)
	report.Working = broken == nil
	for _, hop := range hops {
		status := api.OK
		if !hop.OK {
			status = api.Fail
		}
		report.Hops = append(report.Hops, dnsHop{hop.Name, status, hop.Text, hop.Hint})
	}
	if u.Bool("json") {
		if err := c.printJSON(report); err != nil {
			return err
		}
		return broken
	}
	c.print("domain    %s", report.Domain)
	c.print("server    %s", report.Server)
	switch {
	case set == "":
		c.print("set up    no; micro dns install would use %s", report.Method.Describe())
	case report.SetFor != "" && report.SetFor != report.Server:
		c.print("set up    for %s, which is not the node's: %s", report.SetFor, set.Describe())
	default:
		c.print("set up    %s", set.Describe())
	}
	c.printDNSHops(hops)
	return broken
}

func (c *command) printDNSHops(hops []hostdns.Hop) {
	marks := map[bool]string{true: "ok  ", false: "fail"}
	if c.unicode() {
		marks = map[bool]string{true: "✓", false: "✗"}
	}
	for _, hop := range hops {
		c.print("%s %-8s  %s", marks[hop.OK], hop.Name, hop.Text)
	}
}
