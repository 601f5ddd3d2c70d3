package etcdkv

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Grant implements kv.Leases. etcd extends a lease to at least one and a half of its election timeouts.
func (e *Engine) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	if ttl < time.Second {
		return 0, cloud.Errorf(cloud.Invalid, "a lease of %s is too short: it must be at least 1s", ttl)
	}
	ctx, stop := e.requestContext(ctx)
	defer stop()
	resp, err := e.client.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, e.readError(ctx, err)
	}
	return kv.LeaseID(resp.ID), nil
}

// Renew implements kv.Leases.
func (e *Engine) Renew(ctx context.Context, id kv.LeaseID) error {
	ctx, stop := e.requestContext(ctx)
	defer stop()
	_, err := e.client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	return e.leaseError(ctx, err)
}

// Revoke implements kv.Leases.
func (e *Engine) Revoke(ctx context.Context, id kv.LeaseID) error {
	ctx, stop := e.requestContext(ctx)
	defer stop()
	_, err := e.client.Revoke(ctx, clientv3.LeaseID(id))
	return e.leaseError(ctx, err)
}

func (e *Engine) leaseError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return kv.ErrNoLease
	}
	return e.readError(ctx, err)
}

func isCompacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }
