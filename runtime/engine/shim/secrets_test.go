package shim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestAddSecrets(t *testing.T) {
	state := t.TempDir()
	bundle := filepath.Join(state, "tasks", "ns", "shop-1")
	config := filepath.Join(bundle, "config.json")
	before := `{"ociVersion":"1.3.0","process":{"args":["/x"],"env":["A=1","B=2"],"later":{"n":12345678901234567}},"new":[1]}`
	for _, dir := range []string{bundle, filepath.Dir(SecretsFile(state, "shop-1"))} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (spec map[string]any) {
		text, err := os.ReadFile(config)
		if err == nil {
			err = json.Unmarshal(text, &spec)
		}
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	write(config, before)
	forget, err := addSecrets(bundle, "shop-1") // it has none
	if err != nil || forget() != nil {
		t.Fatal(err)
	}
	write(SecretsFile(state, "shop-1"), `["B=x=y\n\"","C="]`)
	was := read()
	if forget, err = addSecrets(bundle, "shop-1"); err != nil {
		t.Fatal(err)
	}
	got := read()
	if env := got["process"].(map[string]any)["env"]; !reflect.DeepEqual(env, []any{"A=1", "B=x=y\n\"", "C="}) {
		t.Errorf("the environment is %q", env)
	}
	info, err := os.Stat(config)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	delete(got["process"].(map[string]any), "env")
	delete(was["process"].(map[string]any), "env")
	if !reflect.DeepEqual(got, was) {
		t.Errorf("%v became %v", was, got)
	}
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(config); err != nil || string(text) != before {
		t.Errorf("after forgetting: %s, %v", text, err)
	}
	write(SecretsFile(state, "shop-1"), `["B=`)
	if _, err := addSecrets(bundle, "shop-1"); err == nil {
		t.Error("secrets that can't be read are taken for none")
	}
}
