package source

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// gitRules are gitignore(5)'s.
type gitRules struct {
	nested   bool // read .gitignore in every folder
	patterns []gitPattern
	// open has the folders that the walk is in and that have rules of their own.
	open []openFolder
}

type openFolder struct {
	dir    string
	before int // patterns that hold outside of it
}

type gitPattern struct {
	match    *regexp.Regexp // of the path seen from base
	suffix   string         // what the path ends with if it matches, which is quickly seen
	base     string
	negated  bool
	dirsOnly bool
}

func (g *gitRules) enter(folder *os.Root, dir string) error {
	if !g.nested {
		return nil
	}
	// The walk is depth first: rules of folders that it has left hold no more.
	for len(g.open) > 0 {
		if last := g.open[len(g.open)-1]; last.dir != "." && dir != last.dir && !strings.HasPrefix(dir, last.dir+"/") {
			g.patterns, g.open = g.patterns[:last.before], g.open[:len(g.open)-1]
			continue
		}
		break
	}
	data, err := readIgnore(folder, ".gitignore")
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "folder %s: %w", show(dir), err)
	}
	if data != nil {
		g.open = append(g.open, openFolder{dir, len(g.patterns)})
		g.patterns = append(g.patterns, parseGitignore(dir, data)...)
	}
	return nil
}

// ignored follows the last pattern that matches. Nothing below an ignored folder can be taken back.
func (g *gitRules) ignored(p string, isDir, within bool) (out, lookInside bool) {
	for _, pat := range slices.Backward(g.patterns) {
		if pat.dirsOnly && !isDir {
			continue
		}
		rel := p
		if pat.base != "." {
			var below bool
			if rel, below = strings.CutPrefix(p, pat.base+"/"); !below {
				continue
			}
		}
		if strings.HasSuffix(rel, pat.suffix) && pat.match.MatchString(rel) {
			return within || !pat.negated, false
		}
	}
	return within, false
}

func parseGitignore(base string, data []byte) []gitPattern {
	var patterns []gitPattern
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for line := range strings.SplitSeq(string(data), "\n") {
		if p, ok := parseGitPattern(base, strings.TrimSuffix(line, "\r")); ok {
			patterns = append(patterns, p)
		}
	}
	return patterns
}

func parseGitPattern(base, line string) (gitPattern, bool) {
	p := gitPattern{base: base}
	line = trimUnescaped(line)
	if line == "" || line[0] == '#' {
		return p, false
	}
	line, p.negated = strings.CutPrefix(line, "!")
	line, p.dirsOnly = strings.CutSuffix(line, "/")
	if line == "" {
		return p, false
	}
	anchored := strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	expr, ok := globExpr(line)
	if !ok {
		return p, false
	}
	// "**/a" matches "a" too, without the slash.
	p.suffix = strings.TrimPrefix(line[strings.LastIndexAny(line, `*?[]\`)+1:], "/")
	if !anchored {
		expr = "(?:.*/)?" + expr
	}
	re, err := regexp.Compile("(?s)^" + expr + "$")
	p.match = re
	return p, err == nil
}

// trimUnescaped drops spaces at the end, but for one with a backslash before it.
func trimUnescaped(s string) string {
	for strings.HasSuffix(s, " ") {
		rest := s[:len(s)-1]
		if slashes := len(rest) - len(strings.TrimRight(rest, `\`)); slashes%2 == 1 {
			return s
		}
		s = rest
	}
	return s
}

// globExpr makes a regular expression of a pattern; one that git could never match (a backslash or an
// open bracket at the end) is not ok.
func globExpr(glob string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(glob); {
		c := glob[i]
		switch {
		case c == '*' && strings.HasPrefix(glob[i:], "**/") && (i == 0 || glob[i-1] == '/'):
			b.WriteString("(?:.*/)?")
			i += 3
			continue
		case c == '*' && glob[i:] == "**" && (i == 0 || glob[i-1] == '/'):
			b.WriteString(".+")
			i += 2
			continue
		case c == '*':
			for i < len(glob) && glob[i] == '*' {
				i++
			}
			b.WriteString("[^/]*")
			continue
		case c == '?':
			b.WriteString("[^/]")
		case c == '[':
			class, n := classExpr(glob[i:])
			if n == 0 {
				return "", false
			}
			b.WriteString(class)
			i += n
			continue
		case c == '\\':
			i++
			if i == len(glob) {
				return "", false
			}
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
		i++
	}
	return b.String(), true
}

// classExpr makes a class of what glob begins with, "[a-z]", and returns its length; 0 where it never ends.
func classExpr(glob string) (string, int) {
	i := 1
	var b strings.Builder
	b.WriteString("[")
	if i < len(glob) && (glob[i] == '!' || glob[i] == '^') {
		b.WriteString("^/") // a class never matches a slash
		i++
	}
	for first := true; i < len(glob); first = false {
		c := glob[i]
		switch {
		case c == ']' && !first:
			b.WriteString("]")
			return b.String(), i + 1
		case strings.HasPrefix(glob[i:], "[:"):
			if end := strings.Index(glob[i:], ":]"); end > 0 {
				b.WriteString(glob[i : i+end+2])
				i += end + 2
				continue
			}
			b.WriteString(`\[`)
		case c == '\\' && i+1 < len(glob):
			i++
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		case c == '-':
			b.WriteString("-")
		case c == '^' || c == '[' || c == ']' || c == '\\':
			b.WriteString(`\` + string(c))
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
		i++
	}
	return "", 0
}
