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

// readProcfile adds the processes of a Procfile, and returns the line of each. What the manifest says of a
// process wins.
func readProcfile(r *reader, data []byte, d *cloud.PushSpec) map[cloud.ProcessName]int {
	seen := map[cloud.ProcessName]int{}
	if len(data) > maxFile {
		r.bad(nil, "the file has more than %d bytes", maxFile)
		return seen
	}
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
	return seen
}

// withoutWeb makes an app of the workers that its Procfile names, where neither that nor anything else
// speaks of a process web. What the app's own keys say, which speak of web otherwise, is said of each of
// its processes.
func withoutWeb(a *app, procfile map[cloud.ProcessName]int, d *cloud.PushSpec) {
	_, web := procfile[cloud.Web]
	workers := len(procfile)
	if _, ok := procfile[cloud.ReleaseCommand]; ok {
		workers--
	}
	own := a.web.draft
	// What else was said of web since, app.json has said.
	if web || workers == 0 || a.saysWeb() || d.Processes[cloud.Web] != own {
		return
	}
	delete(d.Processes, cloud.Web)
	for name, p := range d.Processes {
		if name == cloud.ReleaseCommand {
			continue
		}
		both := own
		set(&both.Command, p.Command)
		set(&both.Instances, p.Instances)
		set(&both.Memory, p.Memory)
		set(&both.CPU, p.CPU)
		set(&both.Disk, p.Disk)
		set(&both.Port, p.Port)
		set(&both.Startup, p.Startup)
		set(&both.StopGrace, p.StopGrace)
		set(&both.Liveness, p.Liveness)
		set(&both.Readiness, p.Readiness)
		d.Processes[name] = both
	}
	d.NoWeb = true
}

// saysWeb says whether the manifest speaks of something that only a process web can have.
func (a *app) saysWeb() bool {
	listens := func(c *cloud.Check) bool { return c != nil && c.Type != cloud.CheckProcess }
	w := a.web.draft
	return a.webListed || w.Command != nil || w.Port != nil || listens(w.Liveness) || listens(w.Readiness) || len(a.routing.drafts) > 0
}
