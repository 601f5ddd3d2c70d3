package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var update = flag.Bool("update", false, "write the help texts in docs/cli.md and the tables in docs/json.md again")

// The pages that have parts made of the code: help texts and exit codes in the one, the types of JSON in the
// other. Each part stands between "<!-- KIND NAME -->" and "<!-- end -->".
const (
	commandPage = "../docs/cli.md"
	jsonPage    = "../docs/json.md"
)

var part = regexp.MustCompile(`(?s)<!-- (help|codes|json) ?([A-Za-z -]*?) -->\n.*?<!-- end -->`)

func TestCommandPageHasWhatTheCodeHas(t *testing.T) {
	helped := comparePage(t, commandPage, func(page []byte) []byte {
		return place(page, "help", Commands(), "micro ", "## JSON\n")
	}, func(kind, name string) string {
		if kind == "codes" {
			return codes()
		}
		help, ok := Help(strings.Fields(name)...)
		if !ok {
			t.Fatalf("%s has the help of %q, which is no command", commandPage, name)
		}
		return "```text\n" + help + "```\n"
	})["help"]
	if want := append([]string{""}, Commands()...); !sameSet(helped, want) {
		t.Errorf("%s has the help of %q, the commands are %q", commandPage, helped, want)
	}
}

func TestJSONPageHasWhatTheTypesHave(t *testing.T) {
	types := comparePage(t, jsonPage, func(page []byte) []byte {
		return place(page, "json", reachable(), "", "")
	}, func(_, name string) string { return names(t, name) })["json"]
	if want := reachable(); !sameSet(types, want) {
		t.Errorf("%s has the types %q, reads print %q", jsonPage, types, want)
	}
}

// comparePage compares the parts of a page with what make returns for them, or writes them with -update; add
// first adds those that are new, for a person to find a better place. It returns the parts' names by kind.
func comparePage(t *testing.T, page string, add func([]byte) []byte, make func(kind, name string) string) map[string][]string {
	t.Helper()
	was, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		was = add(was)
	}
	found := map[string][]string{}
	now := part.ReplaceAllFunc(was, func(b []byte) []byte {
		m := part.FindSubmatch(b)
		kind, name := string(m[1]), string(m[2])
		found[kind] = append(found[kind], name)
		return fmt.Appendf(nil, "<!-- %s -->\n%s<!-- end -->", strings.TrimSpace(kind+" "+name), make(kind, name))
	})
	switch {
	case *update:
		if err := os.WriteFile(page, now, 0o644); err != nil {
			t.Fatal(err)
		}
	case !bytes.Equal(was, now):
		t.Errorf("%s differs from the code; write it again with: go test ./cli -update", page)
	}
	return found
}

// place adds a section for each name that has none, above the heading next, or at the end where next is "".
func place(page []byte, kind string, names []string, title, next string) []byte {
	for _, name := range names {
		marker := fmt.Sprintf("<!-- %s %s -->\n", kind, name)
		if !bytes.Contains(page, []byte(marker)) {
			section := fmt.Sprintf("### %s%s\n\n%s<!-- end -->\n\n", title, name, marker)
			if next == "" {
				page = append(append(page, '\n'), strings.TrimSuffix(section, "\n")...)
				continue
			}
			page = bytes.Replace(page, []byte("\n"+next), []byte("\n"+section+next), 1)
		}
	}
	return page
}

// The three ways to ask for help print the same.
func TestHelpIsWhatThePageHas(t *testing.T) {
	for _, path := range append(Commands(), "") {
		want, _ := Help(strings.Fields(path)...)
		for _, args := range [][]string{
			append(strings.Fields(path), "--help"), append(strings.Fields(path), "-h"), append([]string{"help"}, strings.Fields(path)...),
		} {
			var out, errs bytes.Buffer
			code := Main(System{Args: append([]string{"micro"}, args...), Stdout: &out, Stderr: &errs, Env: func(string) (string, bool) { return "", false }})
			if code != 0 || out.String() != want || errs.Len() > 0 {
				t.Errorf("micro %s: exit code %d, stderr %q, stdout:\n%s", strings.Join(args, " "), code, errs.String(), out.String())
			}
		}
		if strings.Contains(want, "  \n") || strings.Contains(want, "`") {
			t.Errorf("help of %q has a flag without a word, or a stray quote:\n%s", path, want)
		}
		for line := range strings.Lines(want) {
			if n := len([]rune(line)); n > 110 {
				t.Errorf("help of %q has a line of %d characters: %s", path, n, line)
			}
		}
	}
}

func codes() string {
	var b strings.Builder
	b.WriteString("| exit code | `code` of the API | HTTP status |\n|---|---|---|\n| 0 | | 200 |\n")
	for _, c := range cloud.Codes() {
		fmt.Fprintf(&b, "| %d | `%s` | %d |\n", c.Exit(), c, c.Status())
	}
	return b.String()
}

// printed are the types that reads print with --json.
var printed = []any{
	api.App{}, api.Release{}, api.Instance{}, api.Route{}, api.LogLine{}, api.Event{}, api.Env{}, api.Difference{},
	api.Outcome{}, api.Changed{}, api.Push{}, api.Comparison{}, api.FadeRecord{}, api.Explanation{}, api.Check{}, api.Disk{}, api.Pruned{}, api.Image{}, api.Version{}, api.Pass{}, dnsReport{}, holdReport{}, parity{}, parityLine{}, api.NodeUpgrade{}, api.Authority{}, api.Certificate{}, api.Domain{}, api.DomainCheck{}, trustReport{},
	api.Group{}, api.Quota{}, api.User{}, api.Role{}, api.Whoami{}, api.TokenInfo{}, api.MadeToken{}, shownTarget{}, api.AuditLine{}, api.AuditCheck{}, api.Reviews{}, api.TimelineEntry{}, api.SharedLink{},
	api.OIDC{}, api.Webhook{},
	api.Egress{}, api.Cluster{}, api.VolumeInfo{}, api.Backup{}, api.Broker{},
}

// reachable names the types that are printed and those that they are made of.
func reachable() (list []string) {
	seen := map[reflect.Type]bool{}
	var add func(reflect.Type)
	add = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			add(t.Elem())
		case reflect.Struct:
			if t != reflect.TypeFor[time.Time]() && !seen[t] {
				seen[t] = true
				list = append(list, typeName(t))
				for _, f := range reflect.VisibleFields(t) {
					if !f.Anonymous && f.Tag.Get("json") != "-" {
						add(f.Type)
					}
				}
			}
		}
	}
	for _, v := range printed {
		add(reflect.TypeOf(v))
	}
	return list
}

// typeName sets the cloud's Check, which is an app's, apart from the API's, which is doctor's.
func typeName(t reflect.Type) string {
	if t == reflect.TypeFor[cloud.Check]() {
		return "HealthCheck"
	}
	return t.Name()
}

func names(t *testing.T, name string) string {
	var found reflect.Type
	var look func(reflect.Type)
	look = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			look(typ.Elem())
		case reflect.Struct:
			if typeName(typ) == name {
				found = typ
			}
			if typ == reflect.TypeFor[time.Time]() || found != nil {
				return
			}
			for _, f := range reflect.VisibleFields(typ) {
				if !f.Anonymous {
					look(f.Type)
				}
			}
		}
	}
	for _, v := range printed {
		look(reflect.TypeOf(v))
	}
	if found == nil {
		t.Fatalf("%s has type %q, which nothing prints", jsonPage, name)
	}
	var b strings.Builder
	b.WriteString("| field | type | |\n|---|---|---|\n")
	for _, f := range reflect.VisibleFields(found) {
		if f.Anonymous {
			continue
		}
		field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if field == "-" {
			continue
		}
		text := f.Tag.Get("doc")
		if text == "" {
			text = meaning(name + "." + field)
		}
		if e := f.Tag.Get("enum"); e != "" {
			text = strings.TrimPrefix(text+". One of `"+strings.ReplaceAll(e, ",", "` `")+"`", ". ")
		}
		if strings.Contains(options, "omit") {
			field = "`" + field + "`?"
		} else {
			field = "`" + field + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", field, typeOf(f.Type), text)
	}
	return b.String()
}

// meaning is what the fields are whose types are the cloud's own.
func meaning(field string) string {
	switch field {
	case "HealthCheck.type":
		return "`port`: it listens; `http`: it answers 200; `grpc`: it says SERVING; `process`: it runs"
	case "HealthCheck.path":
		return "Of an HTTP check"
	case "HealthCheck.interval":
		return "Between two checks"
	case "HealthCheck.timeout":
		return "Of one check"
	case "Failure.at", "Exit.at":
		return "When it happened"
	case "Failure.reason":
		return "One sentence"
	case "Failure.hint":
		return "What to try next"
	case "Failure.lines":
		return "What the app logged last"
	case "Exit.code":
		return "As a shell reports it: 128+N for signal N"
	case "Exit.oom":
		return "It ran out of memory"
	}
	return ""
}

func typeOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[cloud.Duration]():
		return "text, as `10s`"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeOf(t.Elem())
	case reflect.Slice:
		return "list of " + typeOf(t.Elem())
	case reflect.Map:
		return "object of " + typeOf(t.Elem())
	case reflect.Struct:
		return "[" + typeName(t) + "](#" + strings.ToLower(typeName(t)) + ")"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true, false"
	}
	return "number"
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// A word has one type wherever it stands, so that a program that has read one answer can read them all.
func TestOneWordHasOneType(t *testing.T) {
	// What RFC 9457 calls so; the command of a container beside one for a person; the code of an exit beside
	// one of an error; why a release failed, which its problem says too; hops with other names; how many processes
	// run in an instance beside the kinds of processes that a release has.
	apart := []string{"Problem.status", "Process.command", "Exit.code", "Release.failure", "dnsReport.hops", "Instance.processes"}
	types, first := map[string]string{}, map[string]string{}
	for _, name := range reachable() {
		for row := range strings.Lines(names(t, name)) {
			cells := strings.Split(row, " | ")
			if len(cells) < 2 || !strings.HasPrefix(row, "| `") {
				continue
			}
			field := strings.Trim(cells[0], "| `?")
			if slices.Contains(apart, name+"."+field) {
				continue
			}
			if was, known := types[field]; known && was != cells[1] {
				t.Errorf("%s.%s is %s, %s.%s is %s", name, field, cells[1], first[field], field, was)
			} else if !known {
				types[field], first[field] = cells[1], name
			}
		}
	}
	if len(types) < 100 {
		t.Errorf("only %d words were compared", len(types))
	}
}
