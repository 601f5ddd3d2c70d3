package config

import (
	"os"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Store is the etcd of the user's own that has the cloud's store, with files of secrets and certificates that Read reads.
type Store struct {
	cloud.ExternalStore

	PasswordFile, CAFile, CertFile, KeyFile string
}

// Set sets one of the settings store, store-password, store-ca, store-cert and store-key.
func (s *Store) Set(key, value string) (err error) {
	switch key {
	case "store":
		s.ExternalStore, err = cloud.ParseExternalStore(strings.TrimSpace(value))
		return err
	case "store-password":
		return setPath(&s.PasswordFile, key, value)
	case "store-ca":
		return setPath(&s.CAFile, key, value)
	case "store-cert":
		return setPath(&s.CertFile, key, value)
	}
	return setPath(&s.KeyFile, key, value)
}

// CheckArgument refuses a password in an argument of the command line, which every user of the machine can see.
func (s *Store) CheckArgument() error {
	if s.Password == "" {
		return nil
	}
	return cloud.Errorf(cloud.Invalid, "every user of this machine can see a password in --store").
		WithHint("leave it out and give --store-password FILE, or give the whole address by the environment: MICRO_STORE")
}

func (s *Store) check() error {
	files := s.PasswordFile + s.CAFile + s.CertFile + s.KeyFile
	switch {
	case s.IsZero() && files != "":
		return cloud.Errorf(cloud.Invalid, "store-password, store-ca, store-cert and store-key are for a store of your own").WithHint("give its address too: --store etcds://HOST:2379")
	case !s.TLS && s.CAFile+s.CertFile+s.KeyFile != "":
		return cloud.Errorf(cloud.Invalid, "store-ca, store-cert and store-key are for TLS, and the store is %s", s).WithHint("write etcds:// instead of etcd://")
	case (s.CertFile == "") != (s.KeyFile == ""):
		return cloud.Errorf(cloud.Invalid, "store-cert and store-key belong together").WithHint("give both, or neither")
	case s.PasswordFile != "" && s.User == "":
		return cloud.Errorf(cloud.Invalid, "store-password needs a user").WithHint("for example --store etcd://USER@HOST:2379")
	}
	return nil
}

// Read returns the store with what its files have.
func (s *Store) Read() (x cloud.ExternalStore, err error) {
	if err := s.check(); err != nil {
		return x, err
	}
	x = s.ExternalStore
	var errs []error
	for _, f := range []struct {
		path   string
		to     *string
		secret bool
	}{{s.PasswordFile, &x.Password, true}, {s.CAFile, &x.CA, false}, {s.CertFile, &x.Cert, false}, {s.KeyFile, &x.Key, true}} {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		if err == nil && f.secret && info.Mode().Perm()&0o077 != 0 {
			err = cloud.Errorf(cloud.Invalid, "other users of this machine may read %s", f.path).WithCommand("chmod 600 %s", f.path)
		}
		var content []byte
		if err == nil {
			content, err = os.ReadFile(f.path)
		}
		if err != nil {
			errs = append(errs, cloud.Errorf(cloud.Invalid, "cannot read a file of the store: %w", err).WithHintOf(err))
			continue
		}
		if *f.to = string(content); f.to == &x.Password {
			x.Password = strings.TrimRight(x.Password, "\r\n")
		}
	}
	return x, cloud.Join(errs...)
}
