package manifest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml( refused)?\n(.*?)^```$")

// TestDocs: each block of docs/manifest.md says what is true, and each key is in it.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	blocks := yamlBlock.FindAllStringSubmatch(doc, -1)
	if len(blocks) < 9 {
		t.Errorf("%d blocks", len(blocks))
	}
	for _, m := range blocks {
		_, err := Parse(Files{Folder: "shop", Name: "micro.yml", Manifest: []byte(m[2])}, Options{App: "shop"})
		switch refused := m[1] != ""; {
		case refused && (err == nil || !strings.Contains(err.Error(), "is not supported yet")):
			t.Errorf("not refused (%v):\n%s", err, m[2])
		case !refused && err != nil:
			t.Errorf("%v:\n%s", err, m[2])
		}
	}
	undocumented[document](t, doc)
	undocumented[app](t, doc)
	undocumented[process](t, doc)
	undocumented[own](t, doc)
	undocumented[strategy](t, doc)
	undocumented[volume](t, doc)
	undocumented[build](t, doc)
	undocumented[guard](t, doc)
	undocumented[docker](t, doc)
	undocumented[metadata](t, doc)
	undocumented[route](t, doc)
	undocumented[routeOptions](t, doc)
	undocumented[ownRoute](t, doc)
	undocumented[service](t, doc)
	undocumented[sidecar](t, doc)
	undocumented[appJSON](t, doc)
	undocumented[jsonVar](t, doc)
	undocumented[jsonFormation](t, doc)
}

func undocumented[T any, P schema[T]](t *testing.T, doc string) {
	t.Helper()
	keys, what := P(nil).keys()
	for _, k := range keys {
		if !strings.Contains(doc, "`"+k.name+"`") {
			t.Errorf("key %s of %s is not in docs/manifest.md", k.name, what)
		}
	}
}
