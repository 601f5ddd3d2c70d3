package manifest

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of what a file may unfold to, far above any honest manifest and far below what hurts.
const (
	maxNodes = 100_000  // after aliases and variables
	maxDepth = 50       // of mappings and lists in each other
	maxText  = 16 << 20 // bytes of all values after variables
)

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s*)?(?:line (\d+): )?`)

// parseYAML returns the one document of the file with aliases, merge keys and variables put in place, or
// nil after an error; an empty document is an empty mapping.
func (r *reader) parseYAML(data []byte, vars variables) *yaml.Node {
	if len(data) > maxFile {
		r.bad(nil, "the file has more than %d bytes", maxFile)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := decode(dec, &doc)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	if err != nil {
		r.badYAML(err)
		return nil
	}
	if err := decode(dec, &second); err == nil {
		r.bad(&second, "a second document begins here, only one is read")
	} else if !errors.Is(err, io.EOF) {
		r.badYAML(err)
	}
	x := &expander{reader: r, vars: vars}
	root := x.expand(doc.Content[0], nil, 0)
	if x.exceeded {
		return nil
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	return root
}

// decode keeps a panic of the parser, which has known ones on broken input, from ending the process.
func decode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("yaml: the file cannot be read")
		}
	}()
	return dec.Decode(n)
}

// badYAML reports an error of the parser at the line that it names.
func (r *reader) badYAML(err error) {
	msg := err.Error()
	at := &yaml.Node{}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		msg = msg[len(m[0]):]
		at.Line, _ = strconv.Atoi(m[1])
	}
	r.bad(at, "not valid YAML: %s", msg)
}

// expander copies a tree and puts in place what aliases, merge keys and variables stand for.
type expander struct {
	*reader
	vars        variables
	nodes, text int
	exceeded    bool
}

// expand returns the copy of n; where at is set, n comes from elsewhere and stands at that place.
func (x *expander) expand(n, at *yaml.Node, depth int) *yaml.Node {
	place := n
	if at != nil {
		place = at
	}
	x.nodes++
	x.text += len(n.Value)
	if !x.exceeded && (x.nodes > maxNodes || x.text > maxText || depth > maxDepth) {
		x.exceeded = true
		x.bad(place, "the file unfolds to more than %d values or %d levels", maxNodes, maxDepth)
	}
	c := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value, Anchor: n.Anchor, Style: n.Style, Line: place.Line, Column: place.Column}
	if x.exceeded {
		c.Kind, c.Tag = yaml.ScalarNode, "!!null"
		return c
	}
	switch n.Kind {
	case yaml.AliasNode:
		return x.expand(n.Alias, at, depth+1)
	case yaml.ScalarNode:
		return x.substitute(c, depth)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			c.Content = append(c.Content, x.expand(item, at, depth+1))
		}
	case yaml.MappingNode:
		x.mapping(n, c, at, depth)
	}
	return c
}

// mapping copies n's pairs into c: its own first, since they win over merged ones.
func (x *expander) mapping(n, c, at *yaml.Node, depth int) {
	seen := map[string]int{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			merges = append(merges, n.Content[i+1])
			continue
		}
		key := x.expand(n.Content[i], at, depth+1)
		value := x.expand(n.Content[i+1], at, depth+1)
		if key.Kind != yaml.ScalarNode {
			x.bad(key, "a key must be plain text")
			continue
		}
		if line, ok := seen[key.Value]; ok {
			x.bad(key, "key %q is given twice, first in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		c.Content = append(c.Content, key, value)
	}
	for _, m := range merges {
		sources := []*yaml.Node{x.expand(m, at, depth+1)}
		if sources[0].Kind == yaml.SequenceNode {
			sources = sources[0].Content
		}
		for _, s := range sources {
			if s.Kind != yaml.MappingNode {
				x.bad(m, "<< wants a mapping, or a list of them")
				continue
			}
			for i := 0; i+1 < len(s.Content); i += 2 {
				if _, ok := seen[s.Content[i].Value]; !ok {
					seen[s.Content[i].Value] = s.Content[i].Line
					c.Content = append(c.Content, s.Content[i], s.Content[i+1])
				}
			}
		}
	}
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.ShortTag() == "!!merge"
}

// kindOf is what a node is, in words.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return strconv.Quote(abbreviate(n.Value))
}

func abbreviate(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
