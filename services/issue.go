package services

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// WithAccounts returns change with the objects of the accounts that its releases need, so that one transaction has both: no
// container waits for a second one before it is made. Accounts makes the accounts, and writes those that are not written
// here.
func WithAccounts(views func() cloud.View, now func() time.Time, change func(*cloud.State) ([]cloud.Change, error)) func(*cloud.State) ([]cloud.Change, error) {
	return func(s *cloud.State) ([]cloud.Change, error) {
		changes, err := change(s)
		if err != nil {
			return changes, err
		}
		clients := map[cloud.AppRef]bool{}
		for _, c := range changes {
			if rel, ok := c.Object.(*cloud.Release); ok && len(rel.Spec.Bindings) > 0 {
				clients[rel.AppRef] = true
			}
		}
		if len(clients) == 0 {
			return changes, nil
		}
		after := cloud.View{State: s.Apply(s.Rev()+1, changes), Instances: views().Instances}
		for client := range clients {
			steps, _ := Plan(after, client, now())
			for _, step := range steps {
				if step.Do != Issue {
					continue
				}
				a, err := newAccount(after.State, step, rand.Text(), now())
				if err != nil {
					continue // Accounts tries it again, and tells of the failure
				}
				changes = append(slices.Clip(changes), cloud.Put(a))
			}
		}
		return changes, nil
	}
}

// newAccount returns the account that a step of Issue is about.
func newAccount(s *cloud.State, step Step, password string, now time.Time) (*cloud.Account, error) {
	service, err := s.MustService(step.Service)
	if err != nil {
		return nil, err
	}
	a := &cloud.Account{AppRef: step.Service, Client: step.Client, N: step.N, Created: now}
	if service.Service.Brokered != nil {
		a.Broker = &cloud.BrokerBinding{ID: newID()}
		return a, nil
	}
	kind, err := KindOf(s, service.Service.Kind)
	if err != nil {
		return nil, err
	}
	a.Credentials = kind.credentials(step.Service, step.Client, step.N, password)
	if service.Service.External {
		_, rel, err := s.MustRelease(step.Service.Release(0))
		if err != nil {
			return nil, err
		}
		a.Credentials = kind.withMore(external(rel), step.Client)
	}
	return a, nil
}
