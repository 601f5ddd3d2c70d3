package services

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// ParseKind reads a kind's file. It reports all that is wrong with it.
func ParseKind(text []byte) (*Kind, error) {
	var k Kind
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(&k)
	switch {
	case errors.Is(err, io.EOF):
		return nil, cloud.Errorf(cloud.Invalid, "the kind's file is empty")
	case err != nil:
		return nil, cloud.Errorf(cloud.Invalid, "the kind's file: %w", readable(err))
	case !errors.Is(d.Decode(new(yaml.Node)), io.EOF):
		return nil, cloud.Errorf(cloud.Invalid, "the kind's file has more after the first document: a file is one kind")
	}
	if err := k.validate(); err != nil {
		return nil, err
	}
	return &k, nil
}

var (
	unknownField = regexp.MustCompile(`field (.*) not found in type .*`)
	wrongType    = regexp.MustCompile(`cannot unmarshal \S+ (.*)into (.*)`)
	typeWords    = map[string]string{
		"int": "a whole number", "string": "a text", "bool": "true or false", "map[string]string": "names with texts", "[]string": "a list of texts", "services.Kind": "keys with values",
	}
)

// storedKind reads a kind that was added. An older or newer micro may have checked its file by other rules.
func storedKind(text string) (*Kind, error) {
	var k Kind
	if err := yaml.Unmarshal([]byte(text), &k); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "the kind's file: %w", readable(err))
	}
	return &k, nil
}

// readable says in the words of the file's author what the YAML library says in Go's.
func readable(err error) error {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	var errs []error
	for _, text := range wrong.Errors {
		text = unknownField.ReplaceAllString(text, `unknown key "$1"`)
		if m := wrongType.FindStringSubmatch(text); m != nil {
			where, _, _ := strings.Cut(text, ": ")
			text = where + ": " + strings.TrimSpace(m[1]+"is not "+typeWords[m[2]])
		}
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

var (
	kindName    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	versionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	imageName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$`)
	scheme      = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	hole        = regexp.MustCompile(`\{([a-z_]+)\}`)
	moreName    = regexp.MustCompile(`^[a-z][a-z_]*$`)
)

// basic are the names that templates of an account have in each kind.
var basic = []string{"user", "password", "host", "port", "client", "database"}

// fixed are names of credentials that mean the same in each kind, in the files and the VCAP_SERVICES of apps or in the
// environment of commands.
var fixed = append([]string{"url", "uri", "bcrypt", "username", "hostname", "name", "type", "provider"}, basic...)

// longestWait bounds startup and stop-grace.
const longestWait = time.Hour

func (k *Kind) validate() error {
	f := &faults{}
	switch {
	case !kindName.MatchString(k.Name):
		f.add("name %q is not of 1 to 40 of a-z, 0-9 and -, with a letter first", k.Name)
	case k.Name == "external":
		f.add("name %q is taken: micro service create external is for services that run elsewhere", k.Name)
	}
	if k.Title != api.Printable(k.Title) {
		f.add("title %q has characters that a terminal does not show", k.Title)
	}
	k.checkImages(f)
	k.checkServer(f)
	k.checkTemplates(f)
	k.checkCommands(f)
	if len(f.all) > 0 {
		return cloud.Errorf(cloud.Invalid, "kind %q: %w", k.Name, errors.Join(f.all...))
	}
	return nil
}

// faults collects what is wrong with a kind.
type faults struct{ all []error }

func (f *faults) add(format string, args ...any) { f.all = append(f.all, fmt.Errorf(format, args...)) }

func (f *faults) of(key string, err error) {
	if err != nil {
		f.add("%s: %w", key, err)
	}
}

func (k *Kind) checkImages(f *faults) {
	if _, ok := k.Images[k.Default]; !ok {
		f.add("default %q is not a version that images has", k.Default)
	}
	for _, version := range slices.Sorted(maps.Keys(k.Images)) {
		f.of("images", checkImage(version, k.Images[version]))
	}
}

// checkImage reports what is wrong with a version of a kind and the reference of its image.
func checkImage(version, image string) error {
	switch {
	case !versionName.MatchString(version):
		return cloud.Errorf(cloud.Invalid, "version %q is not of 1 to 64 letters, digits, dots, _ and -", version)
	case !imageName.MatchString(image):
		return cloud.Errorf(cloud.Invalid, "version %s: image %q is not a reference such as docker.io/library/postgres:15", version, image)
	}
	return nil
}

// checkServer checks how the server runs.
func (k *Kind) checkServer(f *faults) {
	if k.Port < 1 || k.Port > 65535 {
		f.add("port %d is not between 1 and 65535", k.Port)
	}
	switch memory, err := cloud.ParseSize(k.Memory); {
	case err != nil:
		f.of("memory", err)
	case memory < cloud.MinMemory:
		f.add("memory %s is less than %s", k.Memory, cloud.FormatSize(cloud.MinMemory))
	}
	if k.Volume != "" {
		if err := (cloud.Volume{Name: "data", Path: k.Volume}).Validate(); err != nil {
			f.all = append(f.all, err)
		}
	}
	for name, seconds := range map[string]int{"startup": k.Startup, "stop-grace": k.StopGrace} {
		if seconds < 0 || seconds > int(longestWait.Seconds()) {
			f.add("%s: %d is not between 0 and %d seconds", name, seconds, int(longestWait.Seconds()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.Env)) {
		f.of("env", cloud.CheckEnvName(name))
		f.template("env: "+name, k.Env[name], "secret")
	}
}

// template reports the names of a template that have no value.
func (f *faults) template(key, template string, names ...string) {
	for _, name := range holesOf(template) {
		if !slices.Contains(names, name) {
			f.add("%s: {%s} is not one of {%s}", key, name, strings.Join(names, "}, {"))
		}
	}
}

func (k *Kind) checkTemplates(f *faults) {
	f.of("variable", cloud.CheckBoundVariable(k.Variable))
	for _, s := range k.Schemes {
		if !scheme.MatchString(s) {
			f.add("scheme %q is not one of a URL", s)
		}
	}
	f.template("database", k.Database, "client")
	for _, name := range slices.Sorted(maps.Keys(k.More)) {
		if slices.Contains(fixed, name) || !moreName.MatchString(name) {
			f.add("more: %q cannot be the name of a credential", name)
		}
		f.template("more: "+name, k.More[name], basic...)
	}
	all := slices.Concat(basic, slices.Sorted(maps.Keys(k.More)))
	f.template("url", k.URL, all...)
	if u, err := url.Parse(hole.ReplaceAllString(k.URL, "1")); k.URL == "" {
		f.add("url is missing")
	} else if err != nil || u.Scheme == "" || u.Host == "" {
		f.add("url %q is not a URL such as redis://{user}:{password}@{host}:{port}", k.URL)
	}
	for _, name := range k.variables() {
		f.of("variables", cloud.CheckBoundVariable(name))
		f.template("variables: "+name, k.Variables[name], all...)
	}
}

func (k *Kind) checkCommands(f *faults) {
	if k.Probe == "" {
		f.add("probe is missing")
	}
	if (k.Bind == "") != (k.Unbind == "") {
		f.add("bind and unbind need each other")
	}
	if (k.Backup == "") != (k.Restore == "") {
		f.add("backup and restore need each other")
	}
}
