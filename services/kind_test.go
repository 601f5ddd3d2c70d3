package services

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// Every kind of micro's own can be used: own would not be filled otherwise.
func TestOwnKinds(t *testing.T) {
	for name, k := range own {
		if k.Name != name || k.Title == "" {
			t.Errorf("%s: its name is %q, its title %q", name, k.Name, k.Title)
		}
	}
	k, err := KindOf(cloud.NewState(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	c := k.credentials(cloud.AppRef{Group: "default", App: "testdb"}, "shop", 3, "PW")
	if want := "postgres://shop_3:PW@testdb.default.internal:5432/app"; c.URL != want {
		t.Errorf("URL %s, want %s", c.URL, want)
	}
}

func TestUserName(t *testing.T) {
	for client, want := range map[cloud.AppName]string{"shop": "shop_3", "my-shop": "my_shop_3", "a-very-long-name-of-an-application": ""} {
		got := userName(client, 3)
		if want != "" && got != want || len(got) > 32 {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
}

func TestParseKindReportsAllFaults(t *testing.T) {
	_, err := ParseKind([]byte("name: X\nport: 0\nvariable: 1\n"))
	if cloud.CodeOf(err) != cloud.Invalid {
		t.Fatal(err)
	}
	if _, err := ParseKind([]byte("nmae: x")); cloud.CodeOf(err) != cloud.Invalid {
		t.Error(err)
	}
}

// Valkey is Redis by other names: what is tried with the one server holds for the other.
func TestValkeyIsRedis(t *testing.T) {
	redis, err := files.ReadFile("kinds/redis.yml")
	if err != nil {
		t.Fatal(err)
	}
	valkey, err := files.ReadFile("kinds/valkey.yml")
	if err != nil {
		t.Fatal(err)
	}
	renamed := strings.NewReplacer(
		"name: redis", "name: valkey", "title: Redis", "title: Valkey", "[redis]", "[valkey]", `"7"`, `"8"`, "library/redis:7", "valkey/valkey:8",
		"chown redis", "chown valkey", "redis-cli", "valkey-cli", "redis-server", "valkey-server",
	).Replace(string(redis))
	if renamed != string(valkey) {
		t.Errorf("kinds/valkey.yml is not kinds/redis.yml with other names, which is\n%s", renamed)
	}
}
