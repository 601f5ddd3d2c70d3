package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/protoduction/micro/cloud"
)

// maxRules bounds an ignore file's bytes.
const maxRules = 1 << 20

// readRules reads the folder's ignore file: the first of .microignore, .cfignore, NAME.dockerignore beside the
// Dockerfile NAME, .dockerignore and .gitignore, of which only the last is read in folders below too, as git
// does.
func readRules(root *os.Root, dockerfile string) (rules, string, error) {
	for _, name := range []string{".microignore", ".cfignore", dockerfile + ".dockerignore", ".dockerignore", ".gitignore"} {
		data, err := readIgnore(root, name)
		if err != nil {
			return nil, name, err
		}
		if data == nil {
			continue
		}
		switch {
		case name == ".gitignore":
			return &gitRules{nested: true}, name, nil
		case strings.HasSuffix(name, ".dockerignore"):
			r, err := newDockerRules(name, data)
			return r, name, err
		}
		return &gitRules{patterns: parseGitignore(".", data)}, name, nil
	}
	return &gitRules{}, "", nil
}

// readIgnore returns nil for a file that is not there.
func readIgnore(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, cloud.Errorf(cloud.Invalid, "%s is not a regular file", name)
	}
	if err == nil {
		var f *os.File
		if f, err = root.Open(name); err == nil {
			defer f.Close()
			data, err := io.ReadAll(io.LimitReader(f, maxRules+1))
			if err == nil && len(data) > maxRules {
				err = fmt.Errorf("it has more than %d bytes", maxRules)
			}
			if err == nil {
				return append([]byte{}, data...), nil
			}
			return nil, cloud.Errorf(cloud.Invalid, "read %s: %w", name, err)
		}
	}
	return nil, cloud.Errorf(cloud.Invalid, "read %s: %w", name, err)
}

// dockerRules are a .dockerignore's.
type dockerRules struct {
	matcher *patternmatcher.PatternMatcher
	// rescues are the texts before the first wildcard of patterns with !, with which something in a
	// folder that is left out can be sent all the same.
	rescues []string
	parents map[string]patternmatcher.MatchInfo
}

func newDockerRules(name string, data []byte) (*dockerRules, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "%s: %w", name, err)
	}
	d := &dockerRules{parents: map[string]patternmatcher.MatchInfo{}}
	if d.matcher, err = patternmatcher.New(patterns); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "%s: %w", name, err)
	}
	for _, p := range d.matcher.Patterns() {
		// Patterns compile at their first use; a broken one is reported now, not in the middle.
		if _, err := patternmatcher.Matches("x", []string{p.String()}); err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "%s: pattern %q: %w", name, p.String(), err)
		}
		if p.Exclusion() {
			literal, _, _ := strings.Cut(p.String(), "*")
			if i := strings.IndexAny(literal, `?[\`); i >= 0 {
				literal = literal[:i]
			}
			d.rescues = append(d.rescues, literal)
		}
	}
	return d, nil
}

func (*dockerRules) enter(*os.Root, string) error { return nil }

func (d *dockerRules) ignored(p string, isDir, _ bool) (out, lookInside bool) {
	out, info, err := d.matcher.MatchesUsingParentResults(p, d.parents[path.Dir(p)])
	if err != nil {
		return false, false // all patterns have been compiled before
	}
	if !isDir {
		return out, false
	}
	d.parents[p] = info
	for _, r := range d.rescues {
		if strings.HasPrefix(r, p+"/") || strings.HasPrefix(p+"/", r) {
			return out, true
		}
	}
	return out, false
}
