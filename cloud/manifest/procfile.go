package manifest

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// procLine is Heroku's: "web: bundle exec rails server -p $PORT".
var procLine = regexp.MustCompile(`^([^\s:]+)[ \t]*:[ \t]*(.*)$`)

// readProcfile adds the processes of a Procfile. What the manifest says of a process wins.
func readProcfile(r *reader, data []byte, d *cloud.PushSpec) {
	if len(data) > maxFile {
		r.bad(nil, "the file has more than %d bytes", maxFile)
		return
	}
	seen := map[cloud.ProcessName]int{}
	for i, line := range strings.Split(string(data), "\n") {
		at := &yaml.Node{Line: i + 1}
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := procLine.FindStringSubmatch(line)
		if m == nil || !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
			r.bad(at, "%q is not a process: write it like web: COMMAND", abbreviate(strings.ToValidUTF8(line, "?")))
			continue
		}
		name := cloud.ProcessName(m[1])
		if err := name.Validate(); err != nil {
			r.badErr(at, err)
			continue
		}
		if m[2] == "" {
			r.bad(at, "process %s has no command", name)
			continue
		}
		if first, ok := seen[name]; ok {
			r.bad(at, "process %s is given twice, first in line %d", name, first)
			continue
		}
		seen[name] = i + 1
		p := d.Processes[name]
		if p.Command == nil {
			p.Command = &m[2]
		}
		d.Processes[name] = p
	}
}
