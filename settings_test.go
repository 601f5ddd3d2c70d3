package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unset are fields of parts' configurations that node leaves as they are, with the reason.
var unset = map[string]string{
	"runtime/build.Config.Executable":  "a test has another program be the build process",
	"runtime/build.Config.IdleTimeout": "a test can't wait for a minute",
}

// TestEveryFieldIsSet says which fields of a part's configuration node never sets: an option that exists and is
// tested, and that nobody can reach. It is made a setting, or goes.
func TestEveryFieldIsSet(t *testing.T) {
	set := map[string]bool{}        // "router.Config.MaxBody"
	configured := map[string]bool{} // "router.Config"
	for _, file := range parseFolder(t, "node") {
		imports := importsOf(t, file)
		typeOf := func(e ast.Expr) string {
			if s, ok := e.(*ast.SelectorExpr); ok {
				if pkg, ok := s.X.(*ast.Ident); ok && imports[pkg.Name] != "" && isConfig(s.Sel.Name) {
					return imports[pkg.Name] + "." + s.Sel.Name
				}
			}
			return ""
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			name := typeOf(literal.Type)
			if name == "" {
				return true
			}
			configured[name] = true
			for _, e := range literal.Elts {
				pair, ok := e.(*ast.KeyValueExpr)
				if !ok {
					t.Errorf("%s is made without the names of its fields", name)
					break
				}
				set[name+"."+pair.Key.(*ast.Ident).Name] = true
			}
			return true
		})
	}
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		dot := strings.LastIndexByte(name, '.')
		for _, field := range fieldsOf(t, name[:dot], name[dot+1:]) {
			full := name + "." + field
			switch why, excepted := unset[full]; {
			case !set[full] && !excepted:
				t.Errorf("node never sets %s: make it a setting (config, docs/operations.md), or remove it", full)
			case set[full] && excepted:
				t.Errorf("node sets %s, and still it is excepted: %s", full, why)
			}
			used[full] = true
		}
	}
	if len(configured) < 10 {
		t.Errorf("only these are configured: %v", slices.Sorted(maps.Keys(configured)))
	}
	for field := range unset {
		if !used[field] {
			t.Errorf("there is no field %s to except", field)
		}
	}
}

// isConfig says whether a type of this name says how a part is set up.
func isConfig(name string) bool {
	for _, end := range []string{"Config", "Limits", "Timeouts"} {
		if strings.HasSuffix(name, end) && ast.IsExported(name) {
			return true
		}
	}
	return false
}

// parseFolder reads all Go files below a folder, tests apart.
func parseFolder(t *testing.T, folder string) (files []*ast.File) {
	t.Helper()
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		files = append(files, parsed)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// importsOf returns the folders of our packages that a file imports, by the names that it has for them.
func importsOf(t *testing.T, file *ast.File) map[string]string {
	t.Helper()
	imports := map[string]string{}
	for _, i := range file.Imports {
		full, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if folder, ours := strings.CutPrefix(full, module); ours {
			name := path.Base(folder)
			if i.Name != nil {
				name = i.Name.Name
			}
			imports[name] = folder
		}
	}
	return imports
}

// fieldsOf returns the exported fields of a struct.
func fieldsOf(t *testing.T, folder, name string) (fields []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, id := range f.Names {
						if id.IsExported() {
							fields = append(fields, id.Name)
						}
					}
				}
			}
			return false
		})
	}
	if len(fields) == 0 {
		t.Errorf("%s has no type %s with fields", folder, name)
	}
	return fields
}
