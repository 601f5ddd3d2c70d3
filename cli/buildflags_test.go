package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// Secrets are read as docker build reads them, byte for byte.
func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"npmrc": "//r/:_auth=x\n", "a,b": "\xff", "token": "from the file"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"TOKEN": " a,b \n", "EMPTY": ""}
	c := &command{System: System{Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}}
	for arg, want := range map[string][2]string{
		"id=npm,src=npmrc":                        {"npm", "//r/:_auth=x\n"},
		"id=npm,source=npmrc,type=file":           {"npm", "//r/:_auth=x\n"},
		`id=x,"src=a,b"`:                          {"x", "\xff"},
		"id=x,env=TOKEN":                          {"x", " a,b \n"},
		"type=env,id=x,env=EMPTY":                 {"x", ""},
		"id=TOKEN":                                {"TOKEN", " a,b \n"},
		"id=token":                                {"token", "from the file"},
		"id=x,src=" + filepath.Join(dir, "npmrc"): {"x", "//r/:_auth=x\n"},
	} {
		id, value, err := c.readSecret(arg)
		if err != nil || id != want[0] || string(value) != want[1] {
			t.Errorf("%s: %q %q, %v", arg, id, value, err)
		}
	}
}
