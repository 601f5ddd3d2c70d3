package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/seal"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newKeys(t *testing.T) *seal.Keys {
	t.Helper()
	k, err := seal.Make(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKeeper(t *testing.T) *Keeper {
	keys, state := newKeys(t), cloud.NewState()
	return &Keeper{
		Node: "one", Dir: filepath.Join(t.TempDir(), "backups"), Keys: func() Keys { return keys }, State: func() *cloud.State { return state },
		Now: func() time.Time { return now.Add(time.Second) },
	}
}

func newBackup() *cloud.Backup {
	return &cloud.Backup{AppRef: cloud.AppRef{Group: "default", App: "testdb"}, ID: "20261128T120000Z", Kind: "postgres", Version: "15", Taken: now, By: "root"}
}

func write(t *testing.T, k *Keeper, data string) (b *cloud.Backup, file string) {
	t.Helper()
	b = newBackup()
	if err := k.Write(t.Context(), b, func(w io.Writer) error { _, err := io.WriteString(w, data); return err }); err != nil {
		t.Fatal(err)
	}
	return b, filepath.Join(k.Dir, b.FileName())
}

func read(t *testing.T, k *Keeper, b *cloud.Backup) (string, error) {
	t.Helper()
	var got []byte
	err := k.Read(t.Context(), b, func(r io.Reader) (err error) { got, err = io.ReadAll(r); return err })
	return string(got), err
}

func TestWriteAndRead(t *testing.T) {
	k := newKeeper(t)
	for _, size := range []int{1, 100, 64 << 10, 1<<20 + 7} {
		data := strings.Repeat("kieselgur", size/9+1)[:size]
		b, file := write(t, k, data)
		text, err := os.ReadFile(file)
		if err != nil || bytes.Contains(text, []byte("kieselg")) || !bytes.HasPrefix(text, []byte("micro backup 1\n{")) {
			t.Fatalf("%v, the file begins with %.50q", err, text)
		}
		if b.Data != int64(size) || b.Size != int64(len(text)) || b.Node != "one" || b.Took != cloud.Duration(time.Second) || !bytes.Contains(text[len(text)-256:], []byte(b.Digest)) {
			t.Errorf("%+v", b)
		}
		if got, err := read(t, k, b); err != nil || got != data {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		found, err := k.Find(t.Context(), "", b.AppRef)
		if err != nil || len(found) != 1 || found[0].ID != b.ID || found[0].Version != "15" || !found[0].Taken.Equal(now) {
			t.Errorf("found %+v, %v", found, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(k.Dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRefuses cuts a backup off at many lengths, and changes many of its bytes, all of the trailer among them: none of these
// is ever read as if it were whole, and what was cut off is said to be.
func TestRefuses(t *testing.T) {
	k := newKeeper(t)
	b, file := write(t, k, "kieselgur")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(text []byte) (string, error) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return read(t, k, b)
	}
	for n := 0; n < len(whole); n += 5 {
		if got, err := try(whole[:n]); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "truncated") || !strings.Contains(err.Error(), string(b.ID)) {
			t.Fatalf("of %d bytes %d: %q, %v", len(whole), n, got, err)
		}
	}
	for n := 0; n < len(whole); n++ {
		if n%5 != 0 && n < len(whole)-trailerSize {
			continue
		}
		text := bytes.Clone(whole)
		text[n] ^= 1
		if got, err := try(text); err == nil {
			t.Fatalf("with byte %d changed: %q", n, got)
		}
	}
	if _, err := try(append(bytes.Clone(whole), '\n')); err == nil {
		t.Error("a longer one was read")
	}
	other := newKeys(t)
	k.Keys = func() Keys { return other }
	if _, err := try(whole); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "a key that is not in") {
		t.Errorf("with another key: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, k, b); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("without a file: %v", err)
	}
}

// TestHeaderOfAnother gives a backup the header of another one with the same data key.
func TestHeaderOfAnother(t *testing.T) {
	k := newKeeper(t)
	b, file := write(t, k, "kieselgur")
	text, _ := os.ReadFile(file)
	if err := os.WriteFile(file, bytes.Replace(text, []byte(`"version":"15"`), []byte(`"version":"14"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, k, b); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("read with another header: %v", err)
	}
}

// TestFailedWrite leaves nothing of a backup whose command failed, that was cancelled, or that is empty.
func TestFailedWrite(t *testing.T) {
	k := newKeeper(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		ctx  context.Context
		fill func(io.Writer) error
	}{
		"failed":    {t.Context(), func(w io.Writer) error { _, _ = io.WriteString(w, "some"); return failed }},
		"cancelled": {cancelled, func(w io.Writer) error { _, err := io.WriteString(w, "some"); return err }},
		"empty":     {t.Context(), func(io.Writer) error { return nil }},
	} {
		if err := k.Write(c.ctx, newBackup(), c.fill); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	b := newBackup()
	b.Place = filepath.Join(t.TempDir(), "none")
	if err := k.Write(t.Context(), b, func(io.Writer) error { return nil }); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("a folder that is missing: %v", err)
	}
	entries, err := os.ReadDir(k.Dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	// A kill leaves the file that was being written, which goes at the next start.
	if err := os.WriteFile(filepath.Join(k.Dir, ".x.123.part"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Clear(); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(k.Dir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}
