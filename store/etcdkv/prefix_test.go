package etcdkv_test

import (
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/protoduction/micro/store/kvtest"
)

// external is the environment variable that makes open connect to its etcd as to one of the user's own: over the network, below
// a prefix. Writers that the crash test starts get it too.
const external = "ETCDKV_EXTERNAL"

// connect returns the client and the prefix of an engine on an etcd.
func (m *member) connect() (*clientv3.Client, string, error) {
	if os.Getenv(external) == "" {
		return m.client, "", nil
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.server.Clients[0].Addr().String()}, Logger: zap.NewNop()})
	return client, "/shop/", err
}

func TestExternalEngine(t *testing.T) {
	t.Setenv(external, "1")
	kvtest.Run(t, open)
}
