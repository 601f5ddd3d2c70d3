package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

func (c *command) cluster() *urfave.Command {
	status := c.new("status", "", "show the nodes, who leads, and whether changes are possible", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			cluster, err := client.Cluster(ctx)
			if err != nil {
				return err
			}
			return c.printCluster(u, cluster)
		}))
	start := c.new("start", "", "let other nodes join: the store moves into etcd, and apps run on", 0, 0, []urfave.Flag{
		&urfave.StringFlag{Name: "cluster", Usage: "other nodes reach this one on `IP:PORT` (default the machine's, port 6427)"},
		&urfave.StringFlag{Name: "store", Usage: "into your own etcd at `URL`, etcd://HOST:PORT/PREFIX"},
		&urfave.StringFlag{Name: "store-password", Usage: "`FILE` has the password of the store's user"},
		&urfave.StringFlag{Name: "store-ca", Usage: "`FILE` has who vouches for a store at etcds://"},
		&urfave.StringFlag{Name: "store-cert", Usage: "nodes show the certificate in `FILE` to that store"},
		&urfave.StringFlag{Name: "store-key", Usage: "`FILE` has that certificate's key"}, jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		n := api.NewCluster{}
		if text := u.String("cluster"); text != "" {
			var err error
			if n.Addr, err = clusterAddr(text); err != nil {
				return err
			}
		}
		var err error
		if n.Store, err = c.externalStore(u); err != nil {
			return err
		}
		cluster, err := client.StartCluster(ctx, n)
		if err != nil || u.Bool("json") {
			return cmp.Or(err, c.printIfJSON(u, cluster))
		}
		if cluster.Store != "" {
			c.say("the store is etcd at %s, not run by micro", cluster.Store)
		}
		c.say("other nodes can join: micro cluster token makes a token for one")
		return nil
	}))
	token := c.new("token", "", "print a token with which one node may join, once", 0, 0, []urfave.Flag{
		&urfave.DurationFlag{Name: "expires", Value: cloud.MaxJoinTokenLife, Usage: "it is good for `TIME`, at most 24h"}, jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		token, err := client.CreateJoinToken(ctx, api.NewJoinToken{Expires: u.Duration("expires").String()})
		if err != nil {
			return err
		}
		if u.Bool("json") {
			return c.printJSON(token)
		}
		c.print("%s", token.Token)
		c.say("on the other machine: sudo micro up --name NAME --join TOKEN; the token is good until %s", token.Expires.UTC().Format(time.RFC3339))
		return nil
	}))
	recovery := c.new("recover", "", "make this node the whole cloud, when a majority of the voters is lost for good", 0, 0, []urfave.Flag{
		&urfave.BoolFlag{Name: "lost-all-others", Usage: "all other nodes are lost for good, with what only they had"}, jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		if !u.Bool("lost-all-others") {
			return cloud.Errorf(cloud.Invalid, "this node would be the whole cloud: changes that only the other nodes had are lost, and so are the volumes there").
				WithHint("if all other nodes are lost for good: micro cluster recover --lost-all-others")
		}
		cluster, err := client.RecoverCluster(ctx, api.Recovery{LostAllOthers: true})
		if err != nil || u.Bool("json") {
			return cmp.Or(err, c.printIfJSON(u, cluster))
		}
		c.say("this node is the whole cloud now. The others are refused while it answers: empty their data folders, and let them join anew")
		return nil
	}))
	return family("cluster", "several nodes in one cloud", status, start, token, c.upgradeCluster(), recovery)
}

// externalStore returns the etcd that flags name, nil for none.
func (c *command) externalStore(u *urfave.Context) (*api.ExternalStore, error) {
	var store config.Store
	url := u.String("store")
	if env, _ := c.Env("MICRO_STORE"); url == "" && env != "" {
		url = env
	}
	var errs []error
	for _, key := range []string{"store", "store-password", "store-ca", "store-cert", "store-key"} {
		value := u.String(key)
		if key == "store" {
			value = url
		}
		if value != "" {
			errs = append(errs, store.Set(key, value))
		}
	}
	if u.String("store") != "" {
		errs = append(errs, store.CheckArgument())
	}
	x, err := store.Read()
	if err = cloud.Join(append(errs, err)...); err != nil || url == "" {
		return nil, err
	}
	return &api.ExternalStore{URL: url, Password: x.Password, CA: x.CA, Cert: x.Cert, Key: x.Key}, nil
}

// clusterAddr reads an address with or without a port.
func clusterAddr(text string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(ip, config.DefaultClusterPort), nil
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil || addr.Addr().IsUnspecified() {
		return addr, cloud.Errorf(cloud.Invalid, "%q is not the IP:PORT of this machine", text).WithHint("for example --cluster 192.168.1.10:%d", config.DefaultClusterPort)
	}
	return addr, nil
}

func (c *command) printIfJSON(u *urfave.Context, v any) error {
	if u.Bool("json") {
		return c.printJSON(v)
	}
	return nil
}

func (c *command) printCluster(u *urfave.Context, cluster api.Cluster) error {
	if u.Bool("json") {
		return c.printJSON(cluster)
	}
	if err := c.printNodes(cluster.Nodes); err != nil {
		return err
	}
	c.say("%s", cluster.Text)
	if cluster.Hint != "" {
		c.say("hint: %s", cluster.Hint)
	}
	return nil
}

func (c *command) printNodes(nodes []api.ClusterNode) error {
	var rows [][]string
	for _, n := range nodes {
		status := n.Status
		if n.Drained {
			status += ", drained"
		}
		if n.Worker {
			status += ", worker"
		}
		if n.Leads {
			status += ", leads"
		}
		if n.Upgrading {
			status += ", is being upgraded"
		}
		rows = append(rows, []string{
			string(n.Name), status, cmp.Or(n.Addr, "-"), n.Store, fmt.Sprintf("%d/%d", n.Instances, n.Places),
			cloud.FormatSize(n.Reserved) + "/" + cloud.FormatSize(n.Memory), strconv.FormatFloat(n.CPU, 'f', -1, 64), cmp.Or(n.Version, "-"), labels(n.Labels),
		})
	}
	return c.table([]string{"NODE", "STATUS", "ADDRESS", "STORE", "INSTANCES", "MEMORY", "CPU", "MICRO", "LABELS"}, rows)
}

func labels(m map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return cmp.Or(strings.Join(all, " "), "-")
}

// nodeCommand is named so because "node" alone reads like a node.
func (c *command) nodeCommand() *urfave.Command {
	list := c.new("list", "", "list the nodes of the cloud", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			cluster, err := client.Cluster(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(cluster.Nodes)
			}
			return c.printNodes(cluster.Nodes)
		}))
	show := c.new("show", "NODE", "show a node", 1, 1, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			n, err := findNode(ctx, client, nodeArg(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(n)
			}
			return c.printNodes([]api.ClusterNode{n})
		}))
	drain := c.new("drain", "NODE", "move a node's instances to others, and give it no new ones", 1, 1, []urfave.Flag{
		&urfave.DurationFlag{Name: "wait", Value: 5 * time.Minute, Usage: "wait `TIME` at most until nothing runs there; 0 does not wait"}, jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		changed, err := client.DrainNode(ctx, nodeArg(u))
		if err == nil {
			err = c.awaitDrained(ctx, client, nodeArg(u), u.Duration("wait"))
		}
		if err != nil || u.Bool("json") {
			return cmp.Or(err, c.printIfJSON(u, changed))
		}
		c.say("node %s is drained", nodeArg(u))
		return nil
	}))
	undrain := c.changed("undrain", "NODE", "let a node have instances again", 1, 1, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			changed, err := client.UndrainNode(ctx, nodeArg(u))
			return fmt.Sprintf("node %s may have instances", nodeArg(u)), changed, err
		})
	remove := c.changed("remove", "NODE", "remove a node from the cloud", 1, 1, []urfave.Flag{
		&urfave.BoolFlag{Name: "lost", Usage: "the node is gone for good: do not ask for it to be drained first"},
	}, func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
		changed, err := client.RemoveNode(ctx, nodeArg(u), api.NodeRemoval{Lost: u.Bool("lost")})
		return fmt.Sprintf("node %s is no longer in this cloud", nodeArg(u)), changed, err
	})
	label := c.changed("label", "NODE KEY=VALUE…", "set labels of a node; KEY= removes one; instances are spread over the values of zone", 2, -1, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			set := map[string]string{}
			for _, arg := range u.Args().Tail() {
				key, value, ok := strings.Cut(arg, "=")
				if !ok {
					return "", api.Changed{}, cloud.Errorf(cloud.Invalid, "label %q is not KEY=VALUE", arg).WithHint("for example zone=a")
				}
				set[key] = value
			}
			changed, err := client.LabelNode(ctx, nodeArg(u), api.NodeLabels{Labels: set})
			return fmt.Sprintf("node %s has the labels", nodeArg(u)), changed, err
		})
	return family("node", "the machines of the cloud", list, show, c.nodeAdd(), drain, undrain, remove, label)
}

func nodeArg(u *urfave.Context) cloud.NodeName { return cloud.NodeName(u.Args().First()) }

func findNode(ctx context.Context, client *api.Client, name cloud.NodeName) (api.ClusterNode, error) {
	cluster, err := client.Cluster(ctx)
	if err != nil {
		return api.ClusterNode{}, err
	}
	for _, n := range cluster.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return api.ClusterNode{}, cloud.Errorf(cloud.NotFound, "no node %q in this cloud", name).WithCommand("micro node list")
}

// awaitDrained waits until nothing runs on a node any more.
func (c *command) awaitDrained(ctx context.Context, client *api.Client, name cloud.NodeName, limit time.Duration) error {
	if limit <= 0 {
		return nil
	}
	deadline := time.Now().Add(limit)
	for {
		n, err := findNode(ctx, client, name)
		switch {
		case err != nil:
			return err
		case n.Places == 0 && n.Instances == 0:
			return nil
		case time.Now().After(deadline):
			return cloud.Errorf(cloud.Unavailable, "node %s still runs %d instances after %v", name, max(n.Instances, n.Places), limit).WithCommand("micro node show %s", name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
