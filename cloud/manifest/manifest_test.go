package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/protoduction/micro/cloud"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden loads the folder in each archive, with the options in its comment, and compares the draft
// or the error with the archive's last file, "want".
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "shop")
			want := ""
			for _, f := range ar.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				file := filepath.Join(dir, f.Name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			m, err := Load(dir, options(t, dir, string(ar.Comment)))
			got := strings.ReplaceAll(outcome(t, m, err), dir+"/", "")
			if *update {
				ar.Files = append(ar.Files[:len(ar.Files)-1:len(ar.Files)-1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// options reads lines such as "app: shop" and "var: a=b"; others are prose.
func options(t *testing.T, dir, comment string) Options {
	t.Helper()
	o := Options{Vars: map[string]string{}}
	for line := range strings.Lines(comment) {
		key, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "app":
			o.App = cloud.AppName(text)
		case "image":
			o.Image = text
		case "domain":
			o.Domain = cloud.Domain(text)
		case "vars-file":
			o.VarsFiles = append(o.VarsFiles, filepath.Join(dir, text))
		case "var":
			k, v, _ := strings.Cut(text, "=")
			o.Vars[k] = v
		}
	}
	return o
}

func outcome(t *testing.T, m *Manifest, err error) string {
	t.Helper()
	if err != nil {
		if cloud.CodeOf(err) != cloud.Invalid && cloud.CodeOf(err) != cloud.NotFound {
			t.Errorf("code %s of %v", cloud.CodeOf(err), err)
		}
		s := err.Error() + "\n"
		if hint := cloud.HintOf(err); hint != "" {
			s += "hint: " + hint + "\n"
		}
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A file that somebody names may be a pipe, such as a shell's <(COMMAND), which is read as far as any file
// is. One that is found in the folder may not: nobody may be there to write to it.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "micro.yml"), []byte("applications:\n- name: ((name))\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(text string) (*Manifest, error) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		go func() {
			defer w.Close()
			_, _ = io.WriteString(w, text) // who has read enough hangs up
		}()
		return Load(dir, Options{VarsFiles: []string{fmt.Sprintf("/dev/fd/%d", r.Fd())}})
	}
	if m, err := load("name: shop\n"); err != nil || m.App != "shop" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := load("# " + strings.Repeat("x", 3*maxFile)); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("too much: %v", err)
	}
	for _, name := range []string{"Procfile", "app.json", "micro.yml"} {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, Options{App: "shop"}); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), name+" is not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: whatever the bytes, no panic, and each problem has a place inside its file.
func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		files := map[string][]byte{}
		for _, file := range ar.Files {
			files[filepath.Base(file.Name)] = file.Data
		}
		manifest := files["micro.yml"]
		if manifest == nil {
			manifest = files["manifest.yml"]
		}
		f.Add(manifest, files["Procfile"], files["app.json"])
	}
	f.Fuzz(func(t *testing.T, manifest, procfile, appJSON []byte) {
		files := Files{Folder: "shop", Name: "micro.yml", Manifest: manifest, Procfile: procfile, AppJSON: appJSON}
		m, err := Parse(files, Options{Vars: map[string]string{"a": "b", "n": "2"}})
		if err == nil {
			if err := m.App.Validate(); err != nil {
				t.Error(err)
			}
			return
		}
		if cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("code %q of %v", cloud.CodeOf(err), err)
		}
		var ps Problems
		if !errors.As(err, &ps) {
			t.Fatalf("no Problems in %v", err)
		}
		lines := map[string]int{}
		for name, data := range map[string][]byte{"micro.yml": manifest, "Procfile": procfile, "app.json": appJSON} {
			lines[name] = max(1, len(bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))))
		}
		for _, p := range ps {
			if p.Line < 1 || p.Line > lines[p.File] || p.Column < 1 {
				t.Errorf("%s: its file has %d lines", p, lines[p.File])
			}
			if strings.TrimSpace(p.Msg) == "" || strings.Contains(p.Msg, "\n") {
				t.Errorf("message %q is none, or of several lines", p.Msg)
			}
		}
	})
}

func TestNearest(t *testing.T) {
	words := []string{"instances", "memory", "command", "disk_quota", "no-route", "health-check-type"}
	for s, want := range map[string]string{
		"instance": "instances", "Memory": "memory", "memroy": "memory", "comand": "command", "disk-quota": "disk_quota",
		"noroute": "no-route", "no_route": "no-route", "healthcheck-type": "health-check-type", "x": "", "volumes": "",
		strings.Repeat("m", 5000): "",
	} {
		if got := nearest(s, words); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", s, got, want)
		}
	}
}

// TestBounds: what a short file unfolds to is bounded in time and memory.
func TestBounds(t *testing.T) {
	bomb := "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		p := string(rune('a' + i))
		bomb += p + "z: &" + p + "1 [*" + map[bool]string{true: "a0", false: string(rune('a'+i-1)) + "1"}[i == 0]
		bomb += strings.Repeat(", *"+map[bool]string{true: "a0", false: string(rune('a'+i-1)) + "1"}[i == 0], 9) + "]\n"
	}
	for name, data := range map[string]string{
		"aliases":   bomb + "applications: []\n",
		"cycle":     "applications: &a\n- *a\n",
		"merge":     "applications:\n- &a\n  <<: *a\n",
		"depth":     "applications: " + strings.Repeat("[", 9000),
		"closed":    "applications: " + strings.Repeat("[", 3000) + strings.Repeat("]", 3000),
		"size":      "applications: []\n#" + strings.Repeat("x", maxFile),
		"variables": "applications: [" + strings.Repeat("{name: '((big))((big))'}, ", 1000) + "]",
	} {
		vars := map[string]string{"big": strings.Repeat("y", 100_000)}
		_, err := Parse(Files{Name: "micro.yml", Manifest: []byte(data), Folder: "shop"}, Options{Vars: vars})
		if cloud.CodeOf(err) != cloud.Invalid || len(err.Error()) > 1<<20 {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	deep := strings.Repeat("[", 200_000)
	if _, err := Parse(Files{AppJSON: []byte(deep), Folder: "shop"}, Options{}); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("deep app.json: %.200v", err)
	}
}
