package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	helper := "#!/bin/sh\nread -r host\ncase $host in\n" +
		"helped.test) echo '{\"Username\":\"h\",\"Secret\":\"hs\"}';;\n" +
		"token.test) echo '{\"Username\":\"<token>\",\"Secret\":\"tok\"}';;\n" +
		"broken.test) echo topsecret; exit 1;;\n" +
		"*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-micro-test"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const (
		ann    = `{"auth":"YW5uOnMzOmNyZXQ="}` // ann:s3:cret
		helped = `"credHelpers":{"helped.test":"micro-test","token.test":"micro-test","broken.test":"micro-test","evil.test":"../x"}`
	)
	for _, c := range []struct{ file, host, user, secret, fails string }{
		{`{}`, "a.test", "", "", ""},
		{`{"auths":{"a.test":` + ann + `}}`, "a.test", "ann", "s3:cret", ""},
		{`{"auths":{"a.test":` + ann + `}}`, "b.test", "", "", ""},
		{`{"auths":{"https://a.test/v1/":` + ann + `}}`, "a.test", "ann", "s3:cret", ""},
		{`{"auths":{"localhost:5000":{"username":"u","password":"p"}}}`, "localhost:5000", "u", "p", ""},
		{`{"auths":{"https://index.docker.io/v1/":` + ann + `}}`, "registry-1.docker.io", "ann", "s3:cret", ""},
		{`{"auths":{"a.test":{"identitytoken":"it"}}}`, "a.test", "", "it", ""},
		{`{"auths":{"a.test":{"auth":"!"}}}`, "a.test", "", "", "not base64"},
		{`{"auths":{"a.test":{"auth":"YQ=="}}}`, "a.test", "", "", "user:password"},
		{`{` + helped + `}`, "helped.test", "h", "hs", ""},
		{`{` + helped + `}`, "token.test", "", "tok", ""},
		{`{` + helped + `}`, "broken.test", "", "", "docker-credential-micro-test"},
		{`{` + helped + `}`, "evil.test", "", "", "plain name"},
		{`{"credsStore":"micro-test"}`, "helped.test", "h", "hs", ""},
		{`{"credsStore":"micro-test","auths":{"a.test":` + ann + `}}`, "a.test", "ann", "s3:cret", ""},
		{`{`, "a.test", "", "", "config.json"},
	} {
		file := filepath.Join(dir, "config.json")
		if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		user, secret, err := Config{DockerConfig: file}.Credentials(c.host)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "topsecret") {
				t.Errorf("%s for %s: %v, want %q", c.file, c.host, err, c.fails)
			}
			continue
		}
		if err != nil || user != c.user || secret != c.secret {
			t.Errorf("%s for %s: %q %q %v", c.file, c.host, user, secret, err)
		}
	}
	if user, secret, err := (Config{DockerConfig: filepath.Join(dir, "none")}).Credentials("a.test"); user+secret != "" || err != nil {
		t.Errorf("no file: %q %q %v", user, secret, err)
	}
}
