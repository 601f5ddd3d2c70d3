package cloudtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Output is a section of a golden file that a test makes.
type Output struct{ Name, Text string }

// Golden calls run for each txtar file of a pattern, with its sections, and compares what it returns with the
// sections of the same names. With UPDATE=1 in the environment it writes those anew.
func Golden(t *testing.T, pattern string, run func(t *testing.T, section func(name string) string) []Output) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			section := func(name string) string {
				for _, f := range archive.Files {
					if f.Name == name {
						return string(f.Data)
					}
				}
				return ""
			}
			made := run(t, section)
			if os.Getenv("UPDATE") != "" {
				for _, o := range made {
					archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == o.Name })
					archive.Files = append(archive.Files, txtar.File{Name: o.Name, Data: []byte(o.Text)})
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, o := range made {
				if want := section(o.Name); o.Text != want {
					t.Errorf("%s%s:\n%swant:\n%s", archive.Comment, o.Name, o.Text, want)
				}
			}
		})
	}
}
