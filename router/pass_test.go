package router

import (
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestPass(t *testing.T) {
	key, other := []byte("a key of the node's"), []byte("another key")
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	good := Pass(key, "www.example.com", 7, now.Add(time.Hour))
	for _, c := range []struct {
		name  string
		host  cloud.Host
		pass  string
		key   []byte
		after time.Duration
		ok    bool
	}{
		{"a good one", "www.example.com", good, key, 0, true},
		{"near its end", "www.example.com", good, key, time.Hour - time.Second, true},
		{"too late", "www.example.com", good, key, time.Hour, false},
		{"of another host", "api.example.com", good, key, 0, false},
		{"by another key", "www.example.com", good, other, 0, false},
		{"by no key", "www.example.com", Pass(nil, "www.example.com", 7, now.Add(time.Hour)), nil, 0, false},
		{"for another release", "www.example.com", strings.Replace(good, "r7", "r8", 1), key, 0, false},
		{"for longer", "www.example.com", strings.Replace(good, ".1", ".2", 1), key, 0, false},
		{"cut off", "www.example.com", good[:len(good)-1], key, 0, false},
		{"plain", "www.example.com", "r7", key, 0, false},
		{"empty", "www.example.com", "", key, 0, false},
		{"dots", "www.example.com", "...", key, 0, false},
	} {
		if release, ok := passed(c.key, c.host, []byte(c.pass), now.Add(c.after)); ok != c.ok || ok && string(release) != "r7" {
			t.Errorf("%s: %q, %v", c.name, release, ok)
		}
	}
}
