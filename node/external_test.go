package node

import (
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
)

// TestChooseStore has a node start again with the store that it knows, another address of it, and another store.
func TestChooseStore(t *testing.T) {
	known := cloud.ExternalStore{Endpoints: []string{"a:2379"}, Prefix: "/shop/", User: "u", Password: "p", TLS: true, CA: "ca", Cert: "c", Key: "k"}
	for _, tt := range []struct {
		given string
		want  cloud.ExternalStore
		fails bool
	}{
		{"", known, false},
		{"etcds://u@b/shop", cloud.ExternalStore{Endpoints: []string{"b:2379"}, Prefix: "/shop/", User: "u", Password: "p", TLS: true, CA: "ca", Cert: "c", Key: "k"}, false},
		{"etcd://v:q@b/shop", cloud.ExternalStore{Endpoints: []string{"b:2379"}, Prefix: "/shop/", User: "v", Password: "q"}, false},
		{"etcds://u@a/other", cloud.ExternalStore{}, true},
	} {
		n, store := &Node{}, known
		if tt.given != "" {
			if err := n.cfg.Store.Set("store", tt.given); err != nil {
				t.Fatal(err)
			}
		}
		m := cluster.Membership{Store: &store}
		if err := n.chooseStore(&m); (err != nil) != tt.fails || err == nil && !equalStores(*m.Store, tt.want) {
			t.Errorf("%s: user %q, password %q, CA %q at %s, %v", tt.given, m.Store.User, m.Store.Password, m.Store.CA, m.Store, err)
		}
	}
}

func equalStores(a, b cloud.ExternalStore) bool {
	return a.String() == b.String() && a.User == b.User && a.Password == b.Password && a.CA == b.CA && a.Cert == b.Cert && a.Key == b.Key
}
