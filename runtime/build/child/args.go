package child

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// unused are the build arguments, sorted, that no ARG of a Dockerfile takes: as a rule they are misspelt.
// A file that can't be read has none: the build itself says what is wrong.
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

// builtin are the arguments that BuildKit itself reads, and that take no ARG: its own, proxies, and the
// platforms' in FROM lines.
var builtin = regexp.MustCompile(`^(BUILDKIT_.*|SOURCE_DATE_EPOCH|(BUILD|TARGET)(PLATFORM|OS|OSVERSION|ARCH|VARIANT|STAGE)|(?i:(http|https|ftp|no|all)_proxy))$`)
