package services

import (
	"embed"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Kind is a kind of service. docs/services.md describes the format of its file. Commands are lines for /bin/sh in the
// service's instance, whose environment they have, with SERVICE_USER, SERVICE_PASSWORD and what else Credentials have.
type Kind struct {
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	// Variable is the environment variable that apps expect the URL in.
	Variable string `yaml:"variable"`
	// Schemes are the schemes of URLs of such services, by which an external one is recognised.
	Schemes []string `yaml:"schemes"`
	// Images are references by version; Default is the version that is taken where none is asked for.
	Images  map[string]string `yaml:"images"`
	Default string            `yaml:"default"`
	// Command replaces the image's own, as a command line for a shell.
	Command string `yaml:"command"`
	Port    int    `yaml:"port"`
	Memory  string `yaml:"memory"`
	Volume  string `yaml:"volume"` // path of the folder that has all data, "" for none
	// Startup and StopGrace are in seconds; 0 are the defaults of apps.
	Startup   int `yaml:"startup"`
	StopGrace int `yaml:"stop-grace"`
	// Env is the environment of the server. {secret} stands for a password that is made once.
	Env map[string]string `yaml:"env"`

	// URL, Database and More are templates of an account's URL, of the name of what the account is for, and of further
	// credentials. {user}, {password}, {host}, {port}, {client} (the app), {database} and the names of More are replaced.
	// Of these, Database may have only {client}.
	URL      string            `yaml:"url"`
	Database string            `yaml:"database"`
	More     map[string]string `yaml:"more"`
	// Variables are further environment variables of apps, with templates like URL's. The first binding of such a service
	// sets them.
	Variables map[string]string `yaml:"variables"`

	Probe    string `yaml:"probe"`    // succeeds when the server accepts a log-in
	Login    string `yaml:"login"`    // succeeds when SERVICE_USER can log in at SERVICE_HOST: run in a container apart
	Bind     string `yaml:"bind"`     // makes the account SERVICE_USER, or gives it SERVICE_PASSWORD if it exists
	Unbind   string `yaml:"unbind"`   // removes the account, if it exists, and ends its sessions
	Sessions string `yaml:"sessions"` // prints how many sessions the account has
	Backup   string `yaml:"backup"`   // writes all data to standard output
	Restore  string `yaml:"restore"`  // replaces all data by what is on standard input
	Atomic   bool   `yaml:"atomic"`   // a Restore that fails has changed nothing
	Check    string `yaml:"check"`    // succeeds if the data is consistent, and prints what it has checked
	Shell    string `yaml:"shell"`    // an interactive client of the administrator
}

//go:embed kinds/*.yml
var files embed.FS

// own are the kinds that micro has itself, by name.
var own = func() map[string]*Kind {
	kinds := map[string]*Kind{}
	entries, err := files.ReadDir("kinds")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		text, err := files.ReadFile("kinds/" + e.Name())
		if err != nil {
			panic(err)
		}
		k, err := ParseKind(text)
		if err != nil {
			panic(fmt.Sprintf("kinds/%s: %v", e.Name(), err))
		}
		kinds[k.Name] = k
	}
	return kinds
}()

func holesOf(template string) (names []string) {
	for _, m := range hole.FindAllStringSubmatch(template, -1) {
		names = append(names, m[1])
	}
	return names
}

// fill replaces {name} by values. Names that are not known stay.
func fill(template string, values map[string]string, escape func(string) string) string {
	return hole.ReplaceAllStringFunc(template, func(m string) string {
		if v, ok := values[m[1:len(m)-1]]; ok {
			return escape(v)
		}
		return m
	})
}

// variables returns the names of Variables.
func (k *Kind) variables() []string { return slices.Sorted(maps.Keys(k.Variables)) }

// HasAccounts reports whether each binding gets an account of its own.
func (k *Kind) HasAccounts() bool { return k.Bind != "" }

// KindOf returns a kind that micro has, or that an operator added.
func KindOf(s *cloud.State, name string) (*Kind, error) {
	said, ok := s.ServiceKind(name)
	k := own[name]
	if ok && said.Text != "" {
		var err error
		if k, err = storedKind(said.Text); err != nil {
			return nil, err
		}
	}
	if k == nil {
		return nil, cloud.Errorf(cloud.NotFound, "no kind of service %q; there are %s", name, strings.Join(kindNames(s), ", ")).WithCommand("micro service kinds")
	}
	if ok && len(said.Images) > 0 {
		next := *k
		next.Images = maps.Clone(k.Images)
		maps.Copy(next.Images, said.Images)
		k = &next
	}
	return k, nil
}

// Kinds returns all kinds by name.
func Kinds(s *cloud.State) (all []*Kind) {
	for _, name := range kindNames(s) {
		if k, err := KindOf(s, name); err == nil {
			all = append(all, k)
		}
	}
	return all
}

func kindNames(s *cloud.State) []string {
	names := slices.Collect(maps.Keys(own))
	for k := range s.ServiceKinds() {
		if k.Text != "" {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// image returns the reference of the image of a version, and the version.
func (k *Kind) image(version string) (ref, of string, err error) {
	if version == "" {
		version = k.Default
	}
	ref, ok := k.Images[version]
	if !ok {
		versions := slices.Sorted(maps.Keys(k.Images))
		return "", "", cloud.Errorf(cloud.NotFound, "%s has no version %q, only %s", k.Name, version, strings.Join(versions, ", ")).
			WithCommand("micro service image %s %s IMAGE", k.Name, version)
	}
	return ref, version, nil
}

// kindOfURL returns the kind that services at a URL are of.
func kindOfURL(s *cloud.State, u *url.URL) (*Kind, error) {
	for _, k := range Kinds(s) {
		if slices.Contains(k.Schemes, u.Scheme) {
			return k, nil
		}
	}
	return nil, cloud.Errorf(cloud.Invalid, "no kind of service has URLs that begin with %s://", u.Scheme).WithHint("say which it is: --kind postgres")
}
