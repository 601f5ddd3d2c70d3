package handler

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// diff says what sets two releases apart, by field. Values of the environment are secrets: only that
// they are there is said.
func diff(from, to *cloud.Release) []api.Difference {
	a, b := facts(from), facts(to)
	var out []api.Difference
	for _, field := range slices.Sorted(maps.Keys(merge(a, b))) {
		if a[field] != b[field] {
			out = append(out, api.Difference{Field: field, From: shown(field, a[field]), To: shown(field, b[field])})
		}
	}
	slices.SortStableFunc(out, func(x, y api.Difference) int { return cmp.Compare(x.Field, y.Field) })
	return out
}

func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func shown(field, value string) string {
	if strings.HasPrefix(field, "env.") && value != "" {
		return "set"
	}
	return value
}

// facts are all that a release consists of, as text by field.
func facts(r *cloud.Release) map[string]string {
	f := map[string]string{
		"image":    r.Spec.Image.Name,
		"digest":   r.Spec.Image.Digest,
		"strategy": string(r.Spec.Strategy.Kind),
		"overlap":  strconv.FormatBool(r.Spec.Overlap),
		"volumes":  text(r.Spec.Volumes),
		"cron":     text(r.Spec.Cron),
		"guards":   text(r.Spec.Guards),
		"routes":   text(r.Spec.Routes),
		"batch":    strconv.Itoa(r.Spec.Strategy.Batch),
	}
	if surge := r.Spec.Strategy.Surge; surge != nil {
		f["surge"] = strconv.Itoa(*surge)
	}
	for k, v := range r.Spec.Env {
		// A variable that is empty differs from one that is not there.
		f["env."+k] = "=" + v
	}
	for k, v := range r.Spec.Labels {
		f["labels."+k] = v
	}
	for k, v := range r.Spec.Annotations {
		f["annotations."+k] = v
	}
	for name, p := range r.Spec.Processes {
		n := string(name) + "."
		f[n+"command"] = p.Command
		f[n+"port"] = strconv.Itoa(p.Port)
		if p.Protocol != "" {
			f[n+"protocol"] = string(p.Protocol)
		}
		f[n+"startup"] = p.Startup.String()
		f[n+"stop_grace"] = p.StopGrace.String()
		f[n+"init"] = strconv.FormatBool(!p.NoInit)
		f[n+"liveness"] = text(p.Liveness)
		f[n+"readiness"] = text(p.Readiness)
	}
	for name, s := range r.Formation {
		n := string(name) + "."
		f[n+"instances"] = strconv.Itoa(s.Instances)
		f[n+"memory"] = cloud.FormatSize(s.Memory)
		f[n+"cpu"] = strconv.FormatInt(s.CPU, 10)
		f[n+"disk"] = cloud.FormatSize(s.Disk)
	}
	return f
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
