package seal

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func newKeys(t *testing.T) *Keys {
	t.Helper()
	k, err := Make(filepath.Join(t.TempDir(), "micro.key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func wantError(t *testing.T, err error, code cloud.Code, part string) {
	t.Helper()
	if cloud.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got %v (%s), want %s: %s", err, cloud.CodeOf(err), code, part)
	}
}

func TestSealAndOpen(t *testing.T) {
	k := newKeys(t)
	for _, secret := range []string{"hunter2", "", "a\x00b", strings.Repeat("x", 1<<20)} {
		sealed, err := k.Seal("env/default/shop/PASSWORD", []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		if raw, _ := base64.RawStdEncoding.DecodeString(string(sealed)); len(secret) > 3 && (strings.Contains(string(raw), secret) || strings.Contains(string(raw), "PASSWORD")) {
			t.Error("the secret, or its name, can be read")
		}
		again, err := Load(k.Path())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Open("env/default/shop/PASSWORD", sealed); err != nil || string(got) != secret {
			t.Errorf("opened as %.20q, %v", got, err)
		}
	}
	a, _ := k.Seal("a", []byte("x"))
	b, _ := k.Seal("a", []byte("x"))
	if a == b {
		t.Error("two equal secrets have equal sealed texts")
	}
}

func TestOpenRefuses(t *testing.T) {
	k := newKeys(t)
	sealed, err := k.Seal("a", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Open("b", sealed)
	wantError(t, err, cloud.Invalid, "sealed for another place")
	_, err = newKeys(t).Open("a", sealed)
	wantError(t, err, cloud.Invalid, "sealed with a key that is not in")
	if !strings.Contains(cloud.HintOf(err), "put back the key file") {
		t.Errorf("hint %q", cloud.HintOf(err))
	}
	raw, _ := base64.RawStdEncoding.DecodeString(string(sealed))
	for i := range raw {
		damaged := append([]byte{}, raw...)
		damaged[i] ^= 1
		if got, err := k.Open("a", cloud.Sealed(base64.RawStdEncoding.EncodeToString(damaged))); err == nil {
			t.Fatalf("with byte %d changed it opens as %q", i, got)
		}
	}
	for _, s := range []cloud.Sealed{"", "%", sealed[:len(sealed)-8]} {
		_, err = k.Open("a", s)
		wantError(t, err, cloud.Invalid, "damaged")
	}
}

// TestSeveralKeys uses a file with two keys: the first must seal, and both must open.
func TestSeveralKeys(t *testing.T) {
	old, next := newKeys(t), newKeys(t)
	before, _ := old.Seal("a", []byte("1"))
	oldText, _ := os.ReadFile(old.Path())
	nextText, _ := os.ReadFile(next.Path())
	if err := os.WriteFile(next.Path(), append(nextText, oldText...), 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := Load(next.Path())
	if err != nil {
		t.Fatal(err)
	}
	after, _ := both.Seal("a", []byte("2"))
	if got, err := both.Open("a", before); err != nil || string(got) != "1" {
		t.Errorf("the old key's: %q, %v", got, err)
	}
	if got, err := next.Open("a", after); err != nil || string(got) != "2" {
		t.Errorf("the new key's: %q, %v", got, err)
	}
}

func TestKeyFile(t *testing.T) {
	k := newKeys(t)
	if info, err := os.Stat(k.Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(k.Path()), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	before, _ := os.ReadFile(k.Path())
	_, err := Make(k.Path())
	wantError(t, err, cloud.Unavailable, "exists")
	if after, _ := os.ReadFile(k.Path()); string(after) != string(before) {
		t.Error("a key was replaced")
	}
	_, err = Load(filepath.Join(t.TempDir(), "none"))
	wantError(t, err, cloud.NotFound, "does not exist")
	_, err = Load(t.TempDir())
	wantError(t, err, cloud.Invalid, "")
	for _, text := range []string{"", "# nothing\n", string(before) + "AGE-SECRET-KEY-1NONSENSE\n"} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		wantError(t, err, cloud.Invalid, "must contain age keys")
		if strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("the error quotes the file: %v", err)
		}
	}
	if err := os.Chmod(k.Path(), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = Load(k.Path())
	wantError(t, err, cloud.Invalid, "other users have access")
	if cloud.HintOf(err) != "chmod 600 "+k.Path() {
		t.Errorf("hint %q", cloud.HintOf(err))
	}
}

func BenchmarkOpen(b *testing.B) {
	k, err := Make(filepath.Join(b.TempDir(), "key"))
	if err != nil {
		b.Fatal(err)
	}
	sealed, _ := k.Seal("a", []byte("hunter2"))
	for b.Loop() {
		if _, err := k.Open("a", sealed); err != nil {
			b.Fatal(err)
		}
	}
}
