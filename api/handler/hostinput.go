package handler

import (
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// hostInput is the input of an operation about hosts.
type hostInput[T any] struct {
	GroupInput
	Body T
}

// about are the hosts and the apps that a body is about, and whether it lets the public in.
type about struct {
	hosts  []string
	apps   []cloud.AppName
	public bool
}

func aboutOf(body any) about {
	switch b := body.(type) {
	case api.Mapping:
		return about{[]string{b.Host}, []cloud.AppName{b.App}, b.Public}
	case api.Unmapping:
		return about{[]string{b.Host}, []cloud.AppName{b.App}, false}
	case api.Weights:
		a := about{hosts: []string{b.Host}}
		for _, t := range b.Targets {
			a.apps = append(a.apps, t.App)
		}
		if b.Rule != nil {
			a.apps = append(a.apps, b.Rule.App)
		}
		if b.Mirror != nil {
			a.apps = append(a.apps, b.Mirror.App)
		}
		return a
	case api.NewLimits:
		return about{hosts: []string{b.Host}}
	case api.Swap:
		return about{hosts: []string{b.A, b.B}}
	case api.Crossfading:
		return about{[]string{b.Host}, []cloud.AppName{b.App}, false}
	case api.HostHold:
		return about{hosts: []string{b.Host}}
	case api.EndingHold:
		return about{hosts: []string{b.Host}}
	case api.Fading:
		return about{hosts: []string{b.Host}}
	case api.PassRequest:
		return about{[]string{b.Host}, []cloud.AppName{b.App}, false}
	}
	return about{}
}

// scopes are each host, and each app that is to be behind it.
func (in hostInput[T]) scopes(*cloud.State) (scopes []cloud.Scope) {
	a := aboutOf(in.Body)
	for _, text := range a.hosts {
		host, err := cloud.ParseRouteHost(text)
		if err != nil {
			host = "invalid" // which the operation says
		}
		scopes = append(scopes, cloud.Scope{Group: in.Group, Host: host})
		for _, app := range a.apps {
			if app != "" {
				scopes = append(scopes, cloud.Scope{Group: in.Group, App: app, Host: host})
			}
		}
	}
	if len(scopes) == 0 {
		scopes = append(scopes, cloud.Scope{Group: in.Group})
	}
	return scopes
}

// demands of a host that the public is to reach, and of services that are used from then on.
func (in hostInput[T]) demands(*cloud.State) (needs []need) {
	if m, ok := any(in.Body).(api.Mapping); ok && m.LoginOf != "" {
		needs = append(needs, need{cloud.MayRead, cloud.Scope{Group: m.LoginOf}}) // nobody learns which groups there are
	}
	if f, ok := any(in.Body).(api.Crossfading); ok {
		for _, service := range f.Rebind {
			needs = append(needs, useOf(in.Group, service))
		}
	}
	a := aboutOf(in.Body)
	if !a.public {
		return needs
	}
	for _, text := range a.hosts {
		host, _ := cloud.ParseRouteHost(text) // what is none is refused by the operation
		needs = append(needs, need{cloud.MayExpose, cloud.Scope{Group: in.Group, Host: host}})
	}
	return needs
}

func (in routeInput) scopes(*cloud.State) []cloud.Scope {
	host, err := cloud.ParseRouteHost(in.Host)
	if err != nil {
		return in.GroupInput.scopes(nil)
	}
	return []cloud.Scope{{Group: in.Group, Host: host}}
}
