package manifest

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// NewService is a service that is to be created where there is none of its name.
type NewService struct {
	Name       cloud.AppName `json:"name"`
	Kind       string        `json:"kind"`
	Version    string        `json:"version,omitempty"`
	Memory     int64         `json:"memory_limit,omitempty"`
	Production bool          `json:"production,omitempty"`
	// Broker is the service broker that is to provide it, "" for none; Kind is then what the broker offers. Plan and Parameters
	// are for the broker.
	Broker     string          `json:"broker,omitempty"`
	Plan       string          `json:"plan,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// service is an item of services.
type service struct{ cloud.Binding }

// newService is an entry of x-micro: services.
type newService struct {
	at   *yaml.Node
	plan *value // nil for none
	NewService
}

// services is a list of names, or of mappings with a name.
func (v value) services(a *app) {
	seen := map[cloud.AppName]bool{}
	for item := range v.items() {
		var s service
		if item.node.Kind == yaml.ScalarNode {
			item.serviceName(&s)
		} else if fill(item, &s); s.Service == "" {
			item.bad("a service needs a name")
		}
		switch {
		case s.Service == "": // which has been said
		case seen[s.Service]:
			item.bad("service %s is given twice", s.Service)
		default:
			seen[s.Service] = true
			a.services = append(a.services, s.Binding)
		}
	}
}

func (v value) serviceName(s *service) {
	name, ok := v.word()
	if !ok {
		return
	}
	if err := cloud.AppName(name).Validate(); err != nil {
		v.bad("%q is not the name of a service", abbreviate(name))
		return
	}
	s.Service = cloud.AppName(name)
}

// newServices is a mapping of names to kinds, or to mappings with a kind.
func (v value) newServices(o *own) {
	for name, item := range v.pairs() {
		s := &newService{at: item.node, NewService: NewService{Name: cloud.AppName(name.Value)}}
		if err := s.Name.Validate(); err != nil {
			v.reader.bad(name, "%q is not the name of a service", abbreviate(name.Value))
			continue
		}
		if item.node.Kind == yaml.ScalarNode {
			s.Kind, _ = item.word()
		} else if fill(item, s); s.Kind == "" {
			item.bad("a service to create needs a kind, for example postgres")
		}
		s.finish(item)
		o.services = append(o.services, s)
	}
}

// finish reads what depends on who provides the service: a broker's plan has a name, and others are a size of memory.
func (s *newService) finish(item value) {
	switch {
	case s.Broker != "" && s.Version != "":
		item.bad("a service of a broker has a plan and no version")
	case s.Broker == "" && s.Parameters != nil:
		item.bad("parameters are for brokers, and the service has none: name it under broker")
	}
	switch {
	case s.plan == nil:
	case s.Broker != "":
		s.Plan, _ = s.plan.word()
	default:
		s.Memory, _ = s.plan.size(cloud.MinMemory)
	}
}

// object reads a mapping as JSON; nil for an empty one.
func (v value) object() json.RawMessage {
	n := 0
	for range v.pairs() { // which reports what is no mapping
		n++
	}
	var b bytes.Buffer
	if n == 0 || !v.json(&b, v.node) {
		return nil
	}
	return b.Bytes()
}

// bindings are the services that the app is bound to: those that it names, and those that are to be created for it.
func (a *app) bindings() []cloud.Binding {
	all, named := a.services, map[cloud.AppName]bool{}
	for _, b := range all {
		named[b.Service] = true
	}
	for _, s := range a.own.services {
		if !named[s.Name] {
			all = append(all, cloud.Binding{Service: s.Name})
		}
	}
	return all
}

func (a *app) newServices() (all []NewService) {
	for _, s := range a.own.services {
		all = append(all, s.NewService)
	}
	return all
}
