package manifest

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// variables has the values of ((name)).
type variables map[string]*yaml.Node

// variable is Cloud Foundry's: letters, digits and - / . _ .
var variable = regexp.MustCompile(`\(\(([-/._\pL\pN]+)\)\)`)

// readVars reads variables files, the later beating the earlier, and then single values.
func readVars(l *log, files []File, single map[string]string) variables {
	vars := variables{}
	for _, f := range files {
		r := l.reader(f.Name, f.Data)
		root := r.parseYAML(f.Data, nil)
		if root == nil {
			continue
		}
		if root.Kind != yaml.MappingNode {
			r.bad(root, "variables are a mapping of names to values, not %s", kindOf(root))
			continue
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			vars[root.Content[i].Value] = root.Content[i+1]
		}
	}
	for name, value := range single {
		vars[name] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	}
	return vars
}

// get finds a variable; "db.host" is the host of the mapping db where nothing has the whole name.
func (v variables) get(name string) *yaml.Node {
	if n, ok := v[name]; ok {
		return n
	}
	first, rest, ok := strings.Cut(name, ".")
	for n := v[first]; ok && n != nil; {
		first, rest, ok = strings.Cut(rest, ".")
		n = child(n, first)
		if !ok {
			return n
		}
	}
	return nil
}

// child is the value of a key, nil where there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// substitute puts variables into a scalar. One that is a variable and nothing else becomes its value,
// which may be a list or a mapping; inside other text the value must be a scalar. What a value has of
// ((…)) stays as it is.
func (x *expander) substitute(n *yaml.Node, depth int) *yaml.Node {
	if x.vars == nil || !strings.Contains(n.Value, "((") {
		return n
	}
	matches := variable.FindAllStringSubmatchIndex(n.Value, -1)
	var b strings.Builder
	end := 0
	for _, m := range matches {
		name := n.Value[m[2]:m[3]]
		value := x.vars.get(name)
		if value == nil {
			x.bad(n, "variable %s has no value: give --var %s=VALUE, or a --vars-file with it", name, name)
			n.Tag = unset
			continue
		}
		if m[0] == 0 && m[1] == len(n.Value) {
			whole := *x
			whole.vars = nil
			v := whole.expand(value, n, depth+1)
			x.nodes, x.text, x.exceeded = whole.nodes, whole.text, whole.exceeded
			return v
		}
		if value.Kind != yaml.ScalarNode {
			x.bad(n, "variable %s is %s and cannot stand inside text", name, kindOf(value))
			continue
		}
		x.text += len(value.Value)
		if x.text > maxText {
			break // expand reports it with the next value
		}
		b.WriteString(n.Value[end:m[0]])
		b.WriteString(value.Value)
		end = m[1]
	}
	if end == 0 || n.Tag == unset {
		return n
	}
	b.WriteString(n.Value[end:])
	n.Value, n.Tag = b.String(), "!!str"
	return n
}
