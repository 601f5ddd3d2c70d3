package certs

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Vault keeps secrets that all nodes share, each under a key.
type Vault interface {
	// Get returns the value of a key, nil where there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	List(ctx context.Context, under string) (map[string][]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	// PutFor sets the value of a key for a time, after which the key goes by itself.
	PutFor(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Delete(ctx context.Context, keys ...string) error
	// Follow calls changed with all values below a prefix, at once and after each change, until ctx ends.
	Follow(ctx context.Context, under string, changed func(map[string][]byte, error))
	// Lock takes a lock that one node has at a time; the error is a Conflict where another has it. held ends when it is
	// lost.
	Lock(ctx context.Context, name string) (held context.Context, unlock func(), err error)
}

// What the vault has, by the first part of its keys. A host follows where it says so.
const (
	kindCertificate = "certificates/" // and a host: the chain and its key
	kindRecord      = "records/"      // and a host: a cloud.CertificateRecord
	kindAccount     = "accounts/"     // and a directory's hash
	kindToken       = "tokens/"       // and a token: what HTTP-01 is answered with
	kindALPN        = "alpn/"         // and a host: a TLS-ALPN-01 challenge
	kindText        = "texts/"        // and a domain, a slash and a token: what DNS-01 is answered with
)

// Temporary returns how long a value of the vault lives that was put for a time, by its key; 0 for others.
func Temporary(key string) time.Duration {
	for _, kind := range []string{kindToken, kindALPN, kindText} {
		if strings.HasPrefix(key, kind) {
			return challengeLife
		}
	}
	return 0
}

// Ledger keeps the records of certificates in a vault.
type Ledger struct{ Vault Vault }

// Records returns the records of all hosts.
func (l Ledger) Records(ctx context.Context) (map[cloud.Host]cloud.CertificateRecord, error) {
	values, err := l.Vault.List(ctx, kindRecord)
	if err != nil {
		return nil, err
	}
	records := make(map[cloud.Host]cloud.CertificateRecord, len(values))
	for key, value := range values {
		var r cloud.CertificateRecord
		if err := json.Unmarshal(value, &r); err != nil {
			return nil, cloud.Errorf(cloud.Internal, "the record %s cannot be read: %w", key, err)
		}
		records[r.Host] = r
	}
	return records, nil
}

// Save writes a host's record.
func (l Ledger) Save(ctx context.Context, r cloud.CertificateRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return l.Vault.Put(ctx, kindRecord+string(r.Host), b)
}

// Forget removes the records and certificates of hosts.
func (l Ledger) Forget(ctx context.Context, hosts ...cloud.Host) error {
	var keys []string
	for _, h := range hosts {
		keys = append(keys, kindRecord+string(h), kindCertificate+string(h))
	}
	return l.Vault.Delete(ctx, keys...)
}
