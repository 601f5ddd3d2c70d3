package manifest

import (
	"bytes"
	"encoding/json"
	"math"

	"go.yaml.in/yaml/v3"
)

// setting reads a value of the environment: a scalar as it is written, anything else as JSON.
func (v value) setting() (string, bool) {
	if v.isNull() {
		v.bad("variable %s has no value: write \"\" for an empty one, or leave it out", v.name)
		return "", false
	}
	if v.node.Kind == yaml.ScalarNode {
		return v.text()
	}
	var b bytes.Buffer
	if !v.json(&b, v.node) {
		return "", false
	}
	return b.String(), true
}

// json writes a node as JSON, in the order of the file. Scalars keep their text: YAML knows dates, and
// numbers in forms that JSON has not, and an app is to find what its manifest says.
func (v value) json(b *bytes.Buffer, n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSONString(b, n.Content[i].Value)
			b.WriteByte(':')
			if !v.json(b, n.Content[i+1]) {
				return false
			}
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if !v.json(b, item) {
				return false
			}
		}
		b.WriteByte(']')
	default:
		return v.jsonScalar(b, n)
	}
	return true
}

func (v value) jsonScalar(b *bytes.Buffer, n *yaml.Node) bool {
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch {
	case n.Tag == unset:
		return false
	case n.Tag == "!!null":
		b.WriteString("null")
	case n.Tag == "!!bool":
		var is bool
		if n.Decode(&is) != nil {
			v.reader.bad(n, "variable %s: %s must be true or false", v.name, kindOf(n))
			return false
		}
		if is {
			b.WriteString("true")
		} else {
			b.WriteString("false")
		}
	case plain && (n.Tag == "!!int" || n.Tag == "!!float"):
		if json.Valid([]byte(n.Value)) {
			b.WriteString(n.Value)
			break
		}
		var f float64
		if n.Decode(&f) == nil && (math.IsInf(f, 0) || math.IsNaN(f)) {
			v.reader.bad(n, "variable %s: JSON, which it is for an app, has no number %s: write it in quotes", v.name, n.Value)
			return false
		}
		writeJSONString(b, n.Value) // such as 0x1F, 1_000 or .5
	default:
		writeJSONString(b, n.Value)
	}
	return true
}

// writeJSONString writes text as JSON, without the escapes that are for HTML alone.
func writeJSONString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)       // a string always encodes
	b.Truncate(b.Len() - 1) // the encoder's line end
}
