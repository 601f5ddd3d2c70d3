package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/protoduction/micro/cloud"
)

const (
	externalTimeout = 3 * time.Second // for one request to an etcd that is being opened
	externalRetry   = 500 * time.Millisecond
)

// oldestEtcd is the oldest version that this program is tested with.
var oldestEtcd = [2]int{3, 4}

// OpenExternal returns a client of an etcd that the user runs. It waits until that answers, or ctx ends. An etcd that refuses
// this node, or is too old, is an error at once. waiting is called with the reason when etcd does not answer at first.
func OpenExternal(ctx context.Context, x cloud.ExternalStore, waiting func(error)) (*Remote, error) {
	cfg, err := externalConfig(x)
	if err != nil {
		return nil, err
	}
	for {
		client, err := openExternal(ctx, x, cfg)
		if err == nil {
			return &Remote{client: client, fixed: true}, nil
		}
		if cloud.CodeOf(err) != cloud.Unavailable {
			return nil, err
		}
		if waiting != nil {
			waiting(err)
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(externalRetry):
		}
	}
}

func externalConfig(x cloud.ExternalStore) (clientv3.Config, error) {
	cfg := clientv3.Config{
		Endpoints: x.Endpoints, Username: x.User, Password: x.Password, Logger: zap.NewNop(), DialTimeout: externalTimeout,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 2 * time.Second, // etcd ends connections that ask more often
		MaxCallSendMsgSize: maxRequest, MaxCallRecvMsgSize: 1 << 30, DialOptions: []grpc.DialOption{grpc.WithNoProxy()},
	}
	if !x.TLS {
		return cfg, nil
	}
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if x.CA != "" {
		cfg.TLS.RootCAs = x509.NewCertPool()
		if !cfg.TLS.RootCAs.AppendCertsFromPEM([]byte(x.CA)) {
			return cfg, cloud.Errorf(cloud.Invalid, "the file of store-ca has no certificate")
		}
	}
	if x.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(x.Cert), []byte(x.Key))
		if err != nil {
			return cfg, cloud.Errorf(cloud.Invalid, "the files of store-cert and store-key cannot be used: %w", err)
		}
		cfg.TLS.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// openExternal makes a client and asks etcd for what every start needs.
func openExternal(ctx context.Context, x cloud.ExternalStore, cfg clientv3.Config) (*clientv3.Client, error) {
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, explainExternal(ctx, x, cfg, err)
	}
	asking, cancel := context.WithTimeout(ctx, externalTimeout)
	defer cancel()
	if _, err = client.Get(asking, x.Prefix+ownerKey); err == nil {
		err = checkVersions(asking, client)
	}
	if err != nil {
		_ = client.Close() // there is another error to report
		return nil, explainExternal(ctx, x, cfg, err)
	}
	return client, nil
}

// checkVersions returns an error if a member of etcd that answers is too old.
func checkVersions(ctx context.Context, client *clientv3.Client) error {
	for _, at := range client.Endpoints() {
		resp, err := client.Status(ctx, at)
		if err != nil {
			continue // another member has answered
		}
		if err := checkVersion(resp.Version); err != nil {
			return err
		}
	}
	return nil
}

func checkVersion(version string) error {
	var v [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &v[0], &v[1]); err != nil || v[0] > oldestEtcd[0] || v[0] == oldestEtcd[0] && v[1] >= oldestEtcd[1] {
		return nil // also one that does not say
	}
	return cloud.Errorf(cloud.Invalid, "etcd has version %s, and micro needs %d.%d", version, oldestEtcd[0], oldestEtcd[1]).WithHint("upgrade etcd first")
}

// explainExternal returns the error for an etcd that can't be used.
func explainExternal(ctx context.Context, x cloud.ExternalStore, cfg clientv3.Config, err error) error {
	grant := fmt.Sprintf("etcdctl role grant-permission ROLE --prefix=true readwrite %s", x.Prefix)
	switch {
	case cloud.CodeOf(err) == cloud.Invalid:
		return err
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return cloud.Errorf(cloud.Denied, "etcd at %s does not accept the password of its user %q", x, x.User).WithHint("give the right one: --store-password FILE")
	case errors.Is(err, rpctypes.ErrUserEmpty) && x.User == "":
		return cloud.Errorf(cloud.Denied, "etcd at %s wants a user", x).WithHint("--store etcd://USER@HOST:2379 --store-password FILE; the user needs a role: %s", grant)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return cloud.Errorf(cloud.Denied, "etcd at %s wants the password of its user %q", x, x.User).WithHint("--store-password FILE")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return cloud.Errorf(cloud.Denied, "etcd at %s does not let its user %q read keys below %s", x, x.User, x.Prefix).WithHint("%s", grant)
	}
	return cloud.Errorf(cloud.Unavailable, "etcd does not answer at %s: %w", x, whyNot(ctx, x, cfg.TLS, err)).
		WithHint("start etcd, or give addresses at which this machine reaches it: --store")
}

// whyNot returns why no member of etcd answers: gRPC only says that none did.
func whyNot(ctx context.Context, x cloud.ExternalStore, cfg *tls.Config, cause error) error {
	var errs []error
	for _, at := range x.Endpoints {
		if err := tryDial(ctx, at, cfg); err != nil {
			errs = append(errs, err)
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case cfg == nil:
		return fmt.Errorf("%w (if it speaks TLS, write etcds://)", cause)
	}
	return cause
}

func tryDial(ctx context.Context, at string, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), externalTimeout) // the time of the request is over
	defer cancel()
	if cfg == nil {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at)
		if err != nil {
			return err
		}
		return c.Close()
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	// A server that misses a certificate says so after the handshake (RFC 8446, section 4.4.2.4); one that is content begins
	// to speak HTTP/2.
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(deadline)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// ownerKey follows the prefix of a cloud's keys, and has the ID of the cloud. While the cloud moves there, moving follows.
const (
	ownerKey = "cloud"
	moving   = " moving"
)

// Owner returns the ID of the cloud that an external store has, "" for none, and whether all of it is there.
func Owner(ctx context.Context, a Access, x cloud.ExternalStore) (id string, complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, externalTimeout)
	defer cancel()
	resp, err := a.Client().Get(ctx, x.Prefix+ownerKey)
	if err != nil || len(resp.Kvs) == 0 {
		return "", false, externalError(x, err)
	}
	id, begun := strings.CutSuffix(string(resp.Kvs[0].Value), moving)
	return id, !begun, nil
}

// Claim takes an external store for a cloud that moves there. What was left there by a move of the cloud with the ID before,
// which was interrupted, is removed; anything else is an error.
func Claim(ctx context.Context, a Access, x cloud.ExternalStore, id, before string) error {
	owner, complete, err := Owner(ctx, a, x)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*externalTimeout)
	defer cancel()
	switch {
	case owner != "" && owner == before && !complete:
		if _, err := a.Client().Delete(ctx, x.Prefix, clientv3.WithPrefix()); err != nil {
			return externalError(x, err)
		}
	case owner != "" && owner == before:
		return cloud.Errorf(cloud.Conflict, "this cloud was in %s before, and what it had there then is still there", x).
			WithHint("move to another prefix, or remove what is there: etcdctl del --prefix %s", x.Prefix)
	case owner != "":
		return cloud.Errorf(cloud.Conflict, "another cloud has its store in %s", x).
			WithHint("to join it: make a token there with micro cluster token, and start with --join TOKEN; for a cloud of its own choose another prefix")
	default:
		resp, err := a.Client().Get(ctx, x.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return externalError(x, err)
		}
		if resp.Count > 0 {
			return cloud.Errorf(cloud.Conflict, "etcd has %d keys below %s that are not micro's", resp.Count, x.Prefix).WithHint("choose another prefix")
		}
	}
	taken, err := a.Client().Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(x.Prefix+ownerKey), "=", 0)).
		Then(clientv3.OpPut(x.Prefix+ownerKey, id+moving)).Commit()
	if err != nil {
		return externalError(x, err)
	}
	if !taken.Succeeded {
		return cloud.Errorf(cloud.Conflict, "another cloud has its store in %s", x).WithHint("choose another prefix")
	}
	return nil
}

// Moved records that all of a cloud is in its external store.
func Moved(ctx context.Context, a Access, x cloud.ExternalStore, id string) error {
	ctx, cancel := context.WithTimeout(ctx, externalTimeout)
	defer cancel()
	_, err := a.Client().Put(ctx, x.Prefix+ownerKey, id)
	return externalError(x, err)
}

// Unclaim removes what a move that failed has left in an external store.
func Unclaim(ctx context.Context, a Access, x cloud.ExternalStore) error {
	ctx, cancel := context.WithTimeout(ctx, externalTimeout)
	defer cancel()
	_, err := a.Client().Delete(ctx, x.Prefix, clientv3.WithPrefix())
	return externalError(x, err)
}

func externalError(x cloud.ExternalStore, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return cloud.Errorf(cloud.Denied, "etcd at %s does not let its user %q write keys below %s", x, x.User, x.Prefix).
			WithHint("etcdctl role grant-permission ROLE --prefix=true readwrite %s", x.Prefix)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return cloud.Errorf(cloud.Unavailable, "etcd at %s has reached its space quota", x).WithHint("compact and defragment it, and then: etcdctl alarm disarm")
	}
	return cloud.Errorf(cloud.Unavailable, "etcd at %s: %w", x, err)
}
