package child

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// unused returns the build arguments, sorted, that no ARG of the Dockerfile names. Usually they are misspelt. For an invalid
// Dockerfile it returns none: the build itself reports the error.
func unused(args map[string]string, dockerfile []byte) (names []string) {
	file, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil
	}
	taken := map[string]bool{}
	for _, line := range file.AST.Children {
		if !strings.EqualFold(line.Value, "arg") {
			continue
		}
		for word := line.Next; word != nil; word = word.Next {
			name, _, _ := strings.Cut(word.Value, "=")
			taken[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if !taken[name] && !builtin.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// builtin are arguments that need no ARG, because BuildKit itself reads them: its own, proxies, and platforms of FROM
// lines.
var builtin = regexp.MustCompile(`^(BUILDKIT_.*|SOURCE_DATE_EPOCH|(BUILD|TARGET)(PLATFORM|OS|OSVERSION|ARCH|VARIANT|STAGE)|(?i:(http|https|ftp|no|all)_proxy))$`)
