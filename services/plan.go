package services

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Action is what a Step does about an account.
type Action string

// The actions. Issue writes the account's object, with new credentials. Make has the service make the account. End marks it
// as not to be used any more, and Revoke has the service remove it, before the object goes. Forget deletes the object of a
// service that no longer exists. Fail gives up the releases that wait for an account that can't be made.
const (
	Issue  Action = "issue"
	Make   Action = "make"
	End    Action = "end"
	Revoke Action = "revoke"
	Forget Action = "forget"
	Fail   Action = "fail"
)

// Step is one thing to do about an account.
type Step struct {
	Do      Action
	Service cloud.AppRef
	Client  cloud.AppName
	N       int
	Reason  string // of Fail
}

// patience is how long a release waits for a service that is not ready, and startPatience for one that is starting.
const (
	patience      = 10 * time.Second
	startPatience = 3 * time.Minute
)

// Plan returns what can be done now about the accounts of an app, and when to plan again although nothing changes (zero:
// never). Steps can be done in any order.
func Plan(v cloud.View, client cloud.AppRef, now time.Time) (steps []Step, again time.Time) {
	p := planner{View: v, client: client, now: now}
	wanted, held := p.uses()
	for key, rel := range wanted {
		p.provide(key, rel)
	}
	for a := range v.State.AccountsFor(client) {
		key := use{a.App, a.N}
		if _, ok := wanted[key]; !ok && (a.Ending || !held(key)) {
			p.withdraw(a)
		} else if a.Ending {
			p.withdraw(a) // a release wants it again: it gets a new one, once this one is gone
		}
	}
	return p.steps, p.again
}

// use is an account as bindings name it.
type use struct {
	service cloud.AppName
	n       int
}

type planner struct {
	cloud.View
	client cloud.AppRef
	now    time.Time
	steps  []Step
	again  time.Time
}

// uses returns the accounts that releases need which run, each with such a release, and says of the others whether an
// instance may still use them.
func (p *planner) uses() (wanted map[use]*cloud.Release, held func(use) bool) {
	wanted = map[use]*cloud.Release{}
	holds, unknown := map[use]bool{}, false
	for rel := range p.State.Releases(p.client) {
		for _, b := range rel.Spec.Bindings {
			if p.State.Runs(rel) {
				wanted[use{b.Service, b.Account}] = rel
			}
		}
	}
	for i := range p.Instances.OfApp(p.client) {
		rel, ok := p.State.Release(i.ReleaseRef)
		if i.Phase == cloud.InstanceExited {
			continue
		}
		unknown = unknown || !ok // its release was deleted
		if ok {
			for _, b := range rel.Spec.Bindings {
				holds[use{b.Service, b.Account}] = true
			}
		}
	}
	return wanted, func(u use) bool { return unknown || holds[u] }
}

func (p *planner) step(do Action, u use, reason string) {
	p.steps = append(p.steps, Step{Do: do, Service: cloud.AppRef{Group: p.client.Group, App: u.service}, Client: p.client.App, N: u.n, Reason: reason})
}

// provide plans what brings an account that a release needs nearer.
func (p *planner) provide(u use, rel *cloud.Release) {
	service, err := p.State.MustService(cloud.AppRef{Group: p.client.Group, App: u.service})
	if err != nil {
		p.step(Fail, u, err.Error())
		return
	}
	a, ok := p.State.Account(p.client, cloud.Binding{Service: u.service, Account: u.n})
	switch {
	case !ok:
		p.step(Issue, u, "")
	case a.Made, a.Ending:
	case service.Service.Brokered != nil && service.Service.Brokered.Unusable:
		p.step(Fail, u, "service "+service.AppRef.String()+" cannot be used: "+service.Service.Brokered.Failure)
	case canRun(p.View, service):
		p.step(Make, u, "")
	default:
		p.wait(u, rel, service)
	}
}

// wait gives up a release that has waited too long for a service to be ready.
func (p *planner) wait(u use, rel *cloud.Release, service *cloud.App) {
	if b := service.Service.Brokered; b != nil {
		if b.Task == nil || b.Task.Do != cloud.BrokerProvision { // that one ends by itself
			p.step(Fail, u, "service "+service.AppRef.String()+" was not made: "+b.Failure)
		}
		return
	}
	started := rel.Since
	if app, ok := p.State.App(p.client); ok && app.Rollout != nil && app.Rollout.To == rel.N {
		started = app.Rollout.Started
	}
	until := started.Add(patience)
	if service.Rollout != nil && !service.Service.External {
		until = started.Add(startPatience)
	}
	if !p.now.Before(until) {
		p.step(Fail, u, "service "+service.AppRef.String()+" is not ready")
		return
	}
	if p.again.IsZero() || until.Before(p.again) {
		p.again = until
	}
}

// withdraw plans the next step to the end of an account that nobody uses.
func (p *planner) withdraw(a *cloud.Account) {
	u := use{a.App, a.N}
	service, ok := p.State.App(a.AppRef)
	switch {
	case !ok || service.Service == nil:
		p.step(Forget, u, "")
	case !a.Ending:
		p.step(End, u, "")
	case canRun(p.View, service):
		p.step(Revoke, u, "")
	}
}

// canRun reports whether accounts of a service can be made and revoked now.
func canRun(v cloud.View, service *cloud.App) bool {
	if b := service.Service.Brokered; b != nil {
		return b.Made
	}
	if service.Service.External {
		return service.Current != 0
	}
	_, ok := instanceOf(v, service)
	return ok
}

// instanceOf returns the ready instance of a service.
func instanceOf(v cloud.View, service *cloud.App) (*cloud.Instance, bool) {
	if service.Current == 0 {
		return nil, false
	}
	for _, i := range v.Pool(service.Release(service.Current)) {
		return i, true
	}
	return nil, false
}
