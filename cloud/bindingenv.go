package cloud

import (
	"encoding/json"
	"maps"
	"strconv"
)

// BindingRoot is the folder inside an instance with one folder for each binding, as servicebinding.io has it.
const BindingRoot = "/bindings"

// Bound is what an instance gets from its release's bindings. All of it is secret.
type Bound struct {
	Env map[string]string
	// Files are the contents of files below BindingRoot, by their paths in it.
	Files map[string]string
}

// Bound returns what the instances of a release get from its bindings, as far as the accounts are known.
func (s *State) Bound(rel *Release) Bound {
	out := Bound{Env: map[string]string{}, Files: map[string]string{}}
	if len(rel.Spec.Bindings) == 0 {
		return out
	}
	vcap := map[string][]map[string]any{}
	for _, v := range s.variables(rel.Group, rel.Spec.Bindings) {
		if a, ok := s.Account(rel.AppRef, rel.Spec.Bindings[v.index]); ok && a.Credentials.URL != "" { // a broker's service may have none
			out.Env[v.name] = a.Credentials.URL
			if v.own {
				out.Env[v.name] = a.Credentials.Variables[v.name]
			}
		}
	}
	for _, b := range rel.Spec.Bindings {
		app, known := s.App(AppRef{rel.Group, b.Service})
		a, ok := s.Account(rel.AppRef, b)
		if !known || !ok || app.Service == nil {
			continue
		}
		entries := a.Credentials.entries()
		kind := app.Service.Kind
		tags := []string{kind}
		if app.Service.Brokered != nil {
			tags = append(tags, app.Service.Brokered.Tags...)
		}
		vcap[kind] = append(vcap[kind], map[string]any{
			"name": b.Called(), "instance_name": b.Service, "binding_name": orNull(b.Name), "label": kind, "plan": app.Service.Version,
			"tags": tags, "credentials": a.Credentials.vcap(), "syslog_drain_url": a.syslogDrain(), "volume_mounts": []string{},
		})
		entries["type"], entries["provider"] = kind, "micro"
		for name, value := range entries {
			out.Files[b.Called()+"/"+name] = value
		}
	}
	text, err := json.Marshal(vcap)
	if err == nil { // always: all of it can be encoded
		out.Env["VCAP_SERVICES"] = string(text)
	}
	out.Env["SERVICE_BINDING_ROOT"] = BindingRoot
	return out
}

// orNull is a text in JSON, null for none.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// entries are the credentials under the names that the specification of service bindings has.
func (c Credentials) entries() map[string]string {
	all := map[string]string{"uri": c.URL, "host": c.Host, "port": strconv.Itoa(c.Port), "username": c.User, "password": c.Password, "database": c.Database}
	if c.Port == 0 {
		delete(all, "port")
	}
	maps.Copy(all, c.More)
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	return all
}

// syslogDrain is where a broker's service wants the app's logs, nil for nowhere.
func (a *Account) syslogDrain() any {
	if a.Broker == nil {
		return nil
	}
	return orNull(a.Broker.SyslogDrain)
}

// vcap are the credentials as Cloud Foundry's brokers name them.
func (c Credentials) vcap() map[string]any {
	if c.Raw != nil {
		raw := map[string]any{}
		for k, v := range c.Raw {
			raw[k] = v
		}
		return raw
	}
	all := map[string]any{"port": c.Port}
	for k, v := range c.entries() {
		if k != "port" {
			all[k] = v
		}
	}
	all["hostname"] = c.Host
	if c.Database != "" {
		all["name"] = c.Database
	}
	return all
}
