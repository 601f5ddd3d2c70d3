package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// flags returns a source with words like "http=127.0.0.1:80", as from command-line flags.
func flags(words ...string) Source {
	return func(key string) (values []string, from string) {
		for _, w := range words {
			if k, v, _ := strings.Cut(w, "="); k == key {
				values = append(values, v)
			}
		}
		return values, "--" + key
	}
}

func TestLoadRefuses(t *testing.T) {
	long := "/" + strings.Repeat("x", 100)
	for _, tt := range []struct{ flags, says string }{
		{"data=relative", "not an absolute path"},
		{"data=/", "the whole machine"},
		{"data=/srv/..", "the whole machine"},
		{"data=" + long, "its socket's path would have 112 bytes, and the limit is 107"},
		{"http=127.0.0.1:80 http=127.0.0.1:80", "address 127.0.0.1:80 is used twice, for http and http"},
		{"http=127.0.0.1:80 dns=127.0.0.1:80", "address 127.0.0.1:80 is used twice, for http and dns"},
		{"http=127.0.0.1:80 public-http=127.0.0.1:80", "for http and public-http"},
		{"dns=127.0.0.1 dns=127.0.0.1:53", "address 127.0.0.1:53 is used twice, for dns and dns"},
		{"http=nonsense subnet=8.8.8.0/24", "subnet"},
		{"trusted-proxies=everybody", "is not a network or an address"},
		{"proxy-protocol=on", "there are no trusted-proxies"},
		{"proxy-protocol=maybe", "is not a network or an address"},
		{"http3=maybe", "neither on nor off"},
		{"worker=on overlay=direct", "direct routes lead to no machine"},
		{"worker=on cluster=10.0.0.1", "and not at 10.0.0.1:6427"},
		{"worker=on subnet=10.1.0.0/20", "the subnet that the cloud gives it"},
		{"worker=maybe", "neither on nor off"},
		{"store=etcd://u:secret@a", "can see a password in --store"},
		{"store=etcd://a store-ca=/ca.pem", "are for TLS"},
		{"store=etcds://a store-cert=/c.pem", "belong together"},
		{"store=etcd://a store-password=/p", "needs a user"},
		{"store-ca=/ca.pem", "are for a store of your own"},
	} {
		if _, err := Load(flags(strings.Fields(tt.flags)...)); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %s", tt.flags, err, tt.says)
		}
	}
	for _, fine := range []string{
		"data=" + long[:96], "http=127.0.0.1:0 dns=127.0.0.1:0", "http=127.0.0.1:80 public-http=0.0.0.0:80", "http=127.0.0.1:80 dns=127.0.0.2:80",
	} {
		if _, err := Load(flags(strings.Fields(fine)...)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

func TestProxies(t *testing.T) {
	for _, tt := range []struct{ flags, trusted, protocol string }{
		{"", "[]", "[]"},
		{"trusted-proxies=10.1.2.3/8 trusted-proxies=192.0.2.7 trusted-proxies=::ffff:192.0.2.8", "[10.0.0.0/8 192.0.2.7/32 192.0.2.8/32]", "[]"},
		{"proxy-protocol=on trusted-proxies=2001:db8::/32", "[2001:db8::/32]", "[2001:db8::/32]"},
		{"proxy-protocol=off trusted-proxies=10.0.0.0/8", "[10.0.0.0/8]", "[]"},
		{"proxy-protocol=10.0.0.1", "[]", "[10.0.0.1/32]"},
	} {
		n, err := Load(flags(strings.Fields(tt.flags)...))
		if got := fmt.Sprint(n.Proxies.Trusted); err != nil || got != tt.trusted {
			t.Errorf("%s: %s, %v", tt.flags, got, err)
		}
		if got := fmt.Sprint(n.Proxies.Protocol); got != tt.protocol {
			t.Errorf("%s: %s", tt.flags, got)
		}
	}
}

// TestEnvKeepsValues checks that only lists are split at commas and trimmed.
func TestEnvKeepsValues(t *testing.T) {
	n, err := Load(Env(func(name string) (string, bool) {
		v, ok := map[string]string{"MICRO_DATA": "/srv/a, b ", "MICRO_DNS": "127.0.0.1:5, 127.0.0.2:5", "MICRO_DNS_UPSTREAM": "192.0.2.1, 192.0.2.2", "MICRO_DNS_PRIVATE": "10.0.0.0/8, corp.example.com"}[name]
		return v, ok
	}))
	if err != nil || n.Data != "/srv/a, b " || len(n.DNS) != 2 {
		t.Errorf("%+v, %v", n, err)
	}
	if len(n.Names.Upstreams) != 2 || len(n.Names.PrivateNetworks) != 1 || len(n.Names.PrivateDomains) != 1 {
		t.Errorf("names: %+v", n.Names)
	}
}

func TestTarget(t *testing.T) {
	n := Node{Data: "/srv/50% of c#?"}
	if got := n.Target(); got != "unix:///srv/50%25%20of%20c%23%3F/micro.sock" {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ flags, want string }{
		{"", "{[]  [] [] 0}"},
		{"dns-upstream=192.0.2.1 dns-upstream=[2001:db8::1]:5353 dns-upstream=fe80::1%eth0", "{[192.0.2.1:53 [2001:db8::1]:5353 [fe80::1%eth0]:53]  [] [] 0}"},
		{"dns-upstream=/run/systemd/resolve/resolv.conf", "{[] /run/systemd/resolve/resolv.conf [] [] 0}"},
		{"dns-private=10.1.2.3/8 dns-private=192.168.1.7 dns-private=Corp.Example.com. dns-private=corp dns-private=.", "{[]  [10.0.0.0/8 192.168.1.7/32] [corp.example.com corp .] 0}"},
		{"dns-rate=50", "{[]  [] [] 50}"},
		{"dns-rate=0", "{[]  [] [] -1}"},
	} {
		n, err := Load(flags(strings.Fields(tt.flags)...))
		if got := fmt.Sprint(n.Names); err != nil || got != tt.want {
			t.Errorf("%s: %s %v, want %s", tt.flags, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		"dns-upstream=resolver.example", "dns-upstream=0.0.0.0", "dns-upstream=192.0.2.1:0", "dns-upstream=192.0.2.1 dns-upstream=/etc/resolv.conf",
		"dns-private=10.0.0.0/33", "dns-private=*.example.com", "dns-private=a..b", "dns-rate=-1", "dns-rate=many",
	} {
		if _, err := Load(flags(strings.Fields(bad)...)); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestCheckData checks that a folder with files of others is refused: micro would close it to other users.
func TestCheckData(t *testing.T) {
	for _, tt := range []struct{ has, says string }{
		{"", ""},
		{"lost+found", ""},
		{"store", ""},
		{"node.json other", ""},
		{"other", "contains other"},
		{"lost+found etc", "contains etc"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		if tt.has != "" {
			for name := range strings.FieldsSeq(tt.has) {
				if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := CheckData(dir)
		if tt.says == "" && err != nil || tt.says != "" && (cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%q: %v, want %q", tt.has, err, tt.says)
		}
	}
}

func TestLimitSettings(t *testing.T) {
	n, err := Load(flags("admin-group=ops", "log-limit=2G", "audit-lines=100", "image-size=1G", "upload-size=1M", "upload-files=100",
		"disk-free=512M", "build-time=90s", "build-memory=1G", "build-cpu=1.5", "build-pids=16", "build-cache=3G",
		"registry-config=/root/registries.json", "registry-certs=/etc/certs/"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(n.AdminGroup, n.Limits, n.Build, n.Registries)
	if want := "ops{2147483648 100 536870912 1073741824 1048576 100} {1m30s 1073741824 1500 16 3221225472} {/root/registries.json /etc/certs}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n, err := Load(); err != nil || n.AdminGroup != "micro" || n.Limits != (Limits{}) || n.Build != (Build{}) {
		t.Errorf("%+v %v", n, err)
	}
	for word, says := range map[string]string{
		"admin-group=a b": "invalid group", "log-limit=5": "needs a unit", "log-limit=1K": "is less than 1M", "audit-lines=few": "is not a whole number of at least 100",
		"audit-lines=99": "at least 100", "build-time=1h30": "build-time", "build-time=0s": "1s to 24h", "build-cpu=-1": "is not a number of cores",
		"build-cpu=NaN": "is not a number of cores", "build-pids=3": "at least 16", "registry-certs=certs": "is not an absolute path", "upload-files=9999999999": "whole number",
	} {
		if _, err := Load(flags(word)); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", word, err, says)
		}
	}
}
