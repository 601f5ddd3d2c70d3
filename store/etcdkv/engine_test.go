package etcdkv_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"

	"github.com/protoduction/micro/store/etcdkv"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/store/kvtest"
)

// member is an engine with its own etcd in the same process.
type member struct {
	*etcdkv.Engine
	server *embed.Etcd
	client *clientv3.Client
}

// open starts an etcd with its data in dir, and an engine on it.
func open(dir string) (kv.Engine, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	server, err := start(dir)
	if err != nil {
		return nil, err
	}
	m := &member{server: server, client: v3client.New(server.Server)}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var prefix string
	if m.client, prefix, err = m.connect(); err == nil {
		m.Engine, err = etcdkv.New(ctx, etcdkv.Config{Client: m.client, Name: "n1", Prefix: prefix})
	}
	if err != nil {
		server.Close()
		return nil, err
	}
	return m, nil
}

func start(dir string) (*embed.Etcd, error) {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = filepath.Join(dir, "etcd"), "n1"
	cfg.TickMs, cfg.ElectionMs = 1, 10
	cfg.MaxTxnOps = kv.MaxOps + 1
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	loopback := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = loopback, loopback
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = loopback, loopback
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.InitialClusterToken = dir
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err := <-server.Err():
		return nil, err
	}
}

// Close ends the etcd too.
func (m *member) Close() error {
	err := m.Engine.Close()
	if m.server != nil {
		_ = m.client.Close()
		m.server.Close()
		m.server = nil
	}
	return err
}

func TestMain(m *testing.M) {
	wal.SegmentSizeBytes = 256 << 10 // small, because etcd fills whole segments with zeros and the tests make hundreds
	kvtest.Main(m, open)
}

func TestEngine(t *testing.T) { kvtest.Run(t, open) }
