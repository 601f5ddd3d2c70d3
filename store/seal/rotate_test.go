package seal

import (
	"os"
	"slices"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// TestRotate introduces a new key. After each step a process that starts then opens what was sealed at any time before.
func TestRotate(t *testing.T) {
	k := newKeys(t)
	var sealed []cloud.Sealed
	check := func(step string) {
		t.Helper()
		again, err := Load(k.Path())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.PublicKeys(), k.PublicKeys()) {
			t.Errorf("after %s the file has the keys %v, the process %v", step, again.PublicKeys(), k.PublicKeys())
		}
		s, err := k.Seal("a", []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append(sealed, s) {
			if got, err := again.Open("a", s); err != nil || string(got) != "secret" {
				t.Errorf("after %s: %q, %v", step, got, err)
			}
		}
		sealed = append(sealed, s)
	}
	old := k.Public()
	check("nothing")
	text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.Add(text)
	if err != nil || k.Public() != old {
		t.Fatalf("%v, seals with %s", err, k.Public())
	}
	check("adding")
	if again, err := k.Add(text); err != nil || again != public || len(k.PublicKeys()) != 2 {
		t.Errorf("added twice: %s, %v, %d keys", again, err, len(k.PublicKeys()))
	}
	if err := k.Promote(public); err != nil || k.Public() != public {
		t.Fatalf("%v, seals with %s", err, k.Public())
	}
	check("promoting")
	if err := k.Retain(func(p string) bool { return p == old }); err != nil {
		t.Fatal(err)
	}
	check("retaining what backups need")
	if err := k.Retain(func(string) bool { return false }); err != nil || len(k.PublicKeys()) != 1 || k.Public() != public {
		t.Fatalf("%v, keys %v", err, k.PublicKeys())
	}
	if _, err := k.Open("a", sealed[0]); err == nil {
		t.Error("the old key still opens")
	}
	if got, err := k.Open("a", sealed[3]); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if err := k.Promote(old); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("promoted a key that is gone: %v", err)
	}
	if _, err := k.Add("AGE-SECRET-KEY-1NONSENSE"); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("added nonsense: %v", err)
	}
	if info, err := os.Stat(k.Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
