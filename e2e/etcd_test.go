package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdMain is a user's own etcd, with the limits that etcd has by default, and a little of its command line:
//
//	etcd serve FOLDER IP:PORT   until a signal ends it
//	etcd put IP:PORT KEY VALUE
//	etcd users IP:PORT          requires log-ins: "shop" may use keys below /shop/, "reader" may read them, by password "secret"
//	etcd compact IP:PORT        forgets all history
func etcdMain() {
	if err := runEtcd(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
}

func runEtcd(args []string) error {
	if args[0] == "serve" {
		return serveEtcd(args[1], args[2])
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: args[1:2], Logger: zap.NewNop(), DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch args[0] {
	case "put":
		_, err = client.Put(ctx, args[2], args[3])
	case "compact":
		now, failed := client.Get(ctx, "x")
		if err = failed; err == nil {
			_, err = client.Compact(ctx, now.Header.Revision)
		}
	case "users":
		err = addEtcdUsers(ctx, client)
	}
	return err
}

func serveEtcd(dir, addr string) error {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = dir, "theirs"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: addr}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	select {
	case <-end:
		return nil
	case err := <-server.Err():
		return err
	}
}

func addEtcdUsers(ctx context.Context, client *clientv3.Client) error {
	const shop = "/shop/"
	for _, step := range []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error {
			return addEtcdUser(ctx, client, "shop", shop, clientv3.PermissionType(clientv3.PermReadWrite))
		},
		func() error {
			return addEtcdUser(ctx, client, "reader", shop, clientv3.PermissionType(clientv3.PermRead))
		},
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func addEtcdUser(ctx context.Context, client *clientv3.Client, name, prefix string, may clientv3.PermissionType) error {
	if _, err := client.RoleAdd(ctx, name); err != nil {
		return err
	}
	if _, err := client.RoleGrantPermission(ctx, name, prefix, clientv3.GetPrefixRangeEnd(prefix), may); err != nil {
		return err
	}
	if _, err := client.UserAdd(ctx, name, "secret"); err != nil {
		return err
	}
	_, err := client.UserGrantRole(ctx, name, name)
	return err
}
