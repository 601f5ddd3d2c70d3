package services

import (
	"context"
	"encoding/json"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services/broker"
)

// createAtBroker writes down that a broker is to provision a service. It has no release: Brokers does the rest.
func (p *Provider) createAtBroker(ctx context.Context, by cloud.Actor, group cloud.GroupName, want api.NewService, check Check) (cloud.ReleaseRef, cloud.Revision, error) {
	ref := cloud.AppRef{Group: group, App: want.Name}
	if want.URL != "" || want.Version != "" || want.Memory != 0 || want.CPU != 0 {
		return cloud.ReleaseRef{}, 0, cloud.Errorf(cloud.Invalid, "a broker's service has a plan, and no version, URL, memory or CPU")
	}
	if err := checkParameters(want.Parameters); err != nil {
		return cloud.ReleaseRef{}, 0, err
	}
	n := cloud.NewBrokered{
		App: ref, Broker: want.Broker, Offering: want.Kind, Plan: want.Plan, Instance: newID(), Parameters: want.Parameters, Production: want.Production,
	}
	at := cloud.Stamp{At: p.Now().UTC().Truncate(time.Millisecond), By: by.Name}
	s, err := p.Store.Update(ctx, by, "create-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
		known, err := s.MustBroker(want.Broker)
		if err != nil {
			return nil, err
		}
		offering, err := known.MustOffering(want.Kind)
		if err != nil {
			return nil, err
		}
		n.Variable = variableOf(s, offering)
		changes, err := s.CreateBrokered(n, at)
		if err != nil {
			return nil, err
		}
		return changes, check(s, changes)
	})
	if err != nil {
		return cloud.ReleaseRef{}, 0, err
	}
	return ref.Release(0), s.Rev(), nil
}

// CheckParameters reports what is wrong with parameters for a broker.
func (p *Provider) CheckParameters(text json.RawMessage) error { return checkParameters(text) }

// checkParameters reports that parameters for a broker are not an object in JSON.
func checkParameters(text json.RawMessage) error {
	if len(text) == 0 {
		return nil
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return cloud.Errorf(cloud.Invalid, "the parameters are not an object in JSON").WithHint(`for example --parameters '{"size": 2}'`)
	}
	return nil
}

// Catalog asks a broker what it offers.
func (p *Provider) Catalog(ctx context.Context, b *cloud.Broker) ([]cloud.Offering, error) {
	client := &broker.Client{Broker: b, HTTP: p.HTTP, Timeout: broker.Timeout}
	catalog, err := client.Catalog(ctx)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "broker %s does not say what it offers: %w", b.Name, err)
	}
	return catalog, nil
}
