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

// A kind's file is refused for each fault, with words that name the key and the value.
func TestParseKindFaults(t *testing.T) {
	const good = `name: my-redis
title: My Redis
variable: MYREDIS_URL
default: "1"
images: {"1": "micro.local/redis:latest"}
port: 6379
memory: 64M
env: {PW: "{secret}"}
url: redis://:{password}@{host}:{port}
probe: redis-cli ping
`
	with := func(line string) string {
		key, _, _ := strings.Cut(line, ":")
		var kept []string
		for old := range strings.Lines(good) {
			if !strings.HasPrefix(old, key+":") {
				kept = append(kept, old)
			}
		}
		return strings.Join(kept, "") + line + "\n"
	}
	if _, err := ParseKind([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"name: ../x":                  `name "../x"`,
		"name: external":              `name "external" is taken`,
		`title: "\e[31mred"`:          `title "\x1b[31mred"`,
		"variable:":                   `variable: environment variable ""`,
		"variable: PATH":              "variable: environment variable PATH",
		"variables: {LD_PRELOAD: x}":  "variables: environment variable LD_PRELOAD",
		"variables: {X: '{nope}'}":    "variables: X: {nope} is not one of {user}",
		`default: "2"`:                `default "2"`,
		`images: {"1": ""}`:           `version 1: image ""`,
		`images: {"1": "not a ref"}`:  `image "not a ref"`,
		`images: {"1": x, "../2": y}`: `version "../2"`,
		`images: ["x"]`:               "line 10: is not names with texts",
		"port: 0":                     "port 0",
		"port: abc":                   "line 10: `abc` is not a whole number",
		"memory: 1K":                  "memory 1K is less than",
		"memory: lots":                `memory: size "lots"`,
		"volume: data":                `volume data: path "data"`,
		"volume: /":                   `path "/"`,
		"volume: /proc":               "hides the kernel's own /proc",
		"startup: -5":                 "startup: -5",
		"stop-grace: 99999":           "stop-grace: 99999",
		"env: {A: '{secrt}'}":         "env: A: {secrt} is not one of {secret}",
		"url: redis://{usr}":          "url: {usr}",
		"url: somewhere":              `url "somewhere"`,
		"probe:":                      "probe is missing",
		"bind: x":                     "bind and unbind",
		"restore: x":                  "backup and restore",
		"more: {type: x}":             `more: "type"`,
		"more: {uri: x}":              `more: "uri"`,
		"database: '{user}'":          "database: {user}",
		"privileged: true":            `line 11: unknown key "privileged"`,
		"atomic: maybe":               "`maybe` is not true or false",
		"--- \n" + good:               "more after the first document",
		`schemes: ["my redis"]`:       `scheme "my redis"`,
	} {
		_, err := ParseKind([]byte(with(line)))
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, text := range []string{"", "# nothing\n"} {
		if _, err := ParseKind([]byte(text)); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%q: %v", text, err)
		}
	}
	// All faults at once.
	_, err := ParseKind([]byte("name: X\nport: 0\nvariable: 1\n"))
	for _, want := range []string{"name", "port", "variable", "memory", "probe", "url"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
}

// A kind that was added stays usable when the rules for new ones get stricter, or when a newer micro has added it.
func TestStoredKind(t *testing.T) {
	s := cloud.NewState()
	text := "name: old\ntitle: Old\nvariable: PATH\ndefault: '1'\nimages: {'1': x}\nport: 1\nmemory: 1K\nurl: x\nprobe: x\nfuture: 1\n"
	s = s.Apply(1, []cloud.Change{cloud.Put(&cloud.ServiceKind{Name: "old", Text: text})})
	if k, err := KindOf(s, "old"); err != nil || k.Port != 1 {
		t.Errorf("%+v, %v", k, err)
	}
}

// A kind cannot take the URLs of another one.
func TestAddKindWithSchemesOfAnother(t *testing.T) {
	text := "name: mine\ntitle: Mine\nvariable: MINE_URL\ndefault: '1'\nimages: {'1': x}\nport: 1\nmemory: 64M\nurl: redis://{host}\nprobe: x\nschemes: [redis]\n"
	_, _, err := (*Provider)(nil).AddKind(cloud.NewState(), text)
	if cloud.CodeOf(err) != cloud.Conflict || !strings.Contains(err.Error(), "redis:// are of kind redis") {
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
