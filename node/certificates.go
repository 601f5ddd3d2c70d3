package node

import (
	"context"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/router/certs"
	"github.com/protoduction/micro/store"
)

// openCertificates prepares the TLS of the router's listeners. The cloud's own authority is made later, by whoever
// needs it first.
func (n *Node) openCertificates() (err error) {
	n.local = certs.NewLocal(certs.LocalConfig{States: states{n.store}, Keys: n.keys, Now: now})
	n.tls, err = certs.NewServer(certs.ServerConfig{
		Local: n.local, Secret: n.secret, Protocols: router.Protocols(), Log: n.log, Now: now,
	})
	return err
}

// states lets the authority be written to the State, in micro's own name.
type states struct{ store *store.Store }

func (s states) State() *cloud.State { return s.store.State() }

func (s states) Update(ctx context.Context, change func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	return s.store.Update(ctx, cloud.Actor{Name: "micro"}, "init", "authority", change)
}
