package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// appJSON is Heroku's app.json.
type appJSON struct {
	*cloud.PushSpec
	jobs    []*jsonJob
	secrets []string
}

// jsonJob is an entry of cron.
type jsonJob struct {
	at *yaml.Node
	cloud.Job
}

// readAppJSON adds what an app.json says. Its environment is what a new app starts with: neither the
// manifest nor what was set since is overwritten.
func readAppJSON(r *reader, data []byte, d *cloud.PushSpec) (secrets []string) {
	root, err := r.parseJSON(data)
	if err != nil {
		return nil
	}
	a := appJSON{PushSpec: d}
	fill(value{r, root, "app.json"}, &a)
	for _, j := range a.jobs {
		if strings.TrimSpace(j.Command) == "" || j.Schedule == "" {
			r.bad(j.at, "a cron entry needs a command and a schedule")
		}
		d.Cron = append(d.Cron, j.Job)
	}
	return a.secrets
}

func (v value) jsonEnv(a *appJSON) {
	for k, item := range v.pairs() {
		if err := cloud.CheckEnvName(k.Value); err != nil {
			v.reader.badErr(k, err)
			continue
		}
		// Heroku asks for every variable that does not say otherwise.
		jv := jsonVar{required: true}
		if item.node.Kind == yaml.MappingNode {
			fill(item, &jv)
		} else {
			item.jsonValue(&jv)
		}
		if jv.value != nil {
			if a.EnvDefaults == nil {
				a.EnvDefaults = map[string]string{}
			}
			a.EnvDefaults[k.Value] = *jv.value
			continue
		}
		if jv.generated {
			a.secrets = append(a.secrets, k.Value)
			continue
		}
		if jv.required {
			a.EnvRequired = append(a.EnvRequired, k.Value)
		}
	}
}

// jsonVar is a variable of the environment.
type jsonVar struct {
	value               *string
	required, generated bool
}

func (v value) jsonValue(jv *jsonVar) {
	if s, ok := v.text(); ok {
		jv.value = &s
	}
}

func (v value) jsonRequired(jv *jsonVar) { jv.required, _ = v.flag() }

func (v value) generator(jv *jsonVar) {
	_, jv.generated = v.oneOf("secret")
}

func (v value) jsonStack(*appJSON) {
	if s, ok := v.word(); ok && s != "container" {
		v.refuse("stack %s", abbreviate(s))
	}
}

// formation says how many of each process run.
func (v value) formation(a *appJSON) {
	for k, item := range v.pairs() {
		name := cloud.ProcessName(k.Value)
		if err := name.Validate(); err != nil {
			v.reader.badErr(k, err)
			continue
		}
		var f jsonFormation
		fill(item, &f)
		p := a.Processes[name]
		if p.Instances == nil {
			p.Instances = f.quantity
		}
		a.Processes[name] = p
	}
}

type jsonFormation struct{ quantity *int }

func (v value) quantity(f *jsonFormation) {
	if n, ok := v.number(0, cloud.MaxInstances); ok {
		f.quantity = &n
	}
}

func (v value) schedule(j *jsonJob) {
	s, ok := v.text()
	if !ok {
		return
	}
	if _, err := cloud.ParseSchedule(s); err != nil {
		v.reader.badErr(v.node, err)
	}
	j.Schedule = s
}

var errReported = errors.New("reported")

// parseJSON makes nodes of JSON, so that errors know their places and twins of keys are seen.
func (r *reader) parseJSON(data []byte) (*yaml.Node, error) {
	if len(data) > maxFile {
		r.bad(nil, "the file has more than %d bytes", maxFile)
		return nil, errReported
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		r.bad(nil, "the file is not UTF-8")
		return nil, errReported
	}
	j := &jsonReader{reader: r, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	j.dec.UseNumber()
	n, err := j.next(0)
	if err == nil {
		if _, err = j.dec.Token(); errors.Is(err, io.EOF) {
			return n, nil
		}
		err = errors.New("more than one value")
	}
	at := j.nodeAt(j.dec.InputOffset())
	if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
		at = j.nodeAt(s.Offset - 1)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	r.bad(at, "not valid JSON: %v", err)
	return nil, errReported
}

type jsonReader struct {
	*reader
	data []byte
	dec  *json.Decoder

	offset int64 // that line and start belong to
	line   int
	start  int64
}

// nodeAt returns a node at an offset. Offsets mostly ascend, so it counts lines from the last one.
func (j *jsonReader) nodeAt(offset int64) *yaml.Node {
	offset = max(0, min(offset, int64(len(j.data))))
	if offset < j.offset || j.line == 0 {
		j.offset, j.line, j.start = 0, 1, 0
	}
	for ; j.offset < offset; j.offset++ {
		if j.data[j.offset] == '\n' {
			j.line++
			j.start = j.offset + 1
		}
	}
	return &yaml.Node{Line: j.line, Column: int(offset-j.start) + 1}
}

// next reads a value.
func (j *jsonReader) next(depth int) (*yaml.Node, error) {
	// The token begins behind white space and the separator before it.
	begin := j.dec.InputOffset()
	for begin < int64(len(j.data)) && bytes.IndexByte([]byte(" \t\r\n,:"), j.data[begin]) >= 0 {
		begin++
	}
	token, err := j.dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d levels", maxDepth)
	}
	n := j.nodeAt(begin)
	n.Kind = yaml.ScalarNode
	switch t := token.(type) {
	case nil:
		n.Tag = "!!null"
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
	case string:
		n.Tag, n.Value = "!!str", t
		if strings.ContainsRune(t, utf8.RuneError) && hasHalf(j.data[begin:j.dec.InputOffset()]) {
			j.bad(n, "%q has half of a character: \\ud800 to \\udfff come in pairs", abbreviate(t))
		}
	case json.Delim:
		n.Kind = yaml.SequenceNode
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		for j.dec.More() {
			item, err := j.next(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		if _, err := j.dec.Token(); err != nil {
			return nil, err
		}
		j.twins(n)
	}
	return n, nil
}

// hasHalf says whether a JSON string has one half of a surrogate pair alone (RFC 8259, section 7). The decoder
// would put another character in its place.
func hasHalf(raw []byte) bool {
	high := false // the last escape was the first half of a pair
	for i := 0; i < len(raw); i++ {
		unit := rune(0)
		if raw[i] == '\\' {
			if n, err := strconv.ParseUint(string(raw[min(i+2, len(raw)):min(i+6, len(raw))]), 16, 16); err == nil && raw[i+1] == 'u' {
				unit = rune(n)
				i += 4
			}
			i++
		}
		low := unit >= 0xdc00 && unit <= 0xdfff
		if high != low {
			return true
		}
		high = unit >= 0xd800 && unit <= 0xdbff
	}
	return high
}

// twins reports keys that are there twice.
func (j *jsonReader) twins(n *yaml.Node) {
	seen := map[string]bool{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; seen[k.Value] {
			j.bad(k, "key %q is given twice", abbreviate(k.Value))
		} else {
			seen[k.Value] = true
		}
	}
}
