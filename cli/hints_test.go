package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var verb = regexp.MustCompile(`%[a-z]`)

// Every command that an error's hint names, anywhere in micro, is one that there is, with flags that it has.
func TestHintsAreCommands(t *testing.T) {
	app := new(command).app()
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "WithCommand" {
				return true
			}
			format, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: a command that is not written out", path)
				return true
			}
			text, err := strconv.Unquote(format.Value)
			if err != nil {
				t.Fatal(err)
			}
			argv := strings.Fields(strings.TrimPrefix(text, "sudo "))
			if argv[0] != "micro" || strings.HasPrefix(text, "micro %s") { // another program's, or of the command that failed
				return true
			}
			for i := range argv {
				argv[i] = strings.ReplaceAll(verb.ReplaceAllString(argv[i], "x"), "%%", "%")
			}
			seen++
			if _, _, err := arrange(app, argv); err != nil {
				t.Errorf("%s: the hint %q: %v", path, text, err)
			}
			return true
		})
		return nil
	})
	if err != nil || seen < 50 {
		t.Errorf("looked at %d hints, %v", seen, err)
	}
}
