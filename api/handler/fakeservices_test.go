package handler

import (
	"context"
	"encoding/json"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// fakeServices has one kind of service, whose image is always there.
type fakeServices struct{ *fakes }

func (f fakeServices) Create(ctx context.Context, by cloud.Actor, g cloud.GroupName, want api.NewService, check func(*cloud.State, []cloud.Change) error) (made cloud.ReleaseRef, _ cloud.Revision, err error) {
	n := cloud.NewService{App: cloud.AppRef{Group: g, App: want.Name}, Service: cloud.Service{Kind: want.Kind, Variable: "DATABASE_URL", Production: want.Production}, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1"}}}
	s, err := f.Update(ctx, by, "create-service", n.App.String(), func(s *cloud.State) (changes []cloud.Change, err error) {
		if changes, made, err = s.CreateService(n, cloud.Stamp{By: by.Name}); err != nil {
			return nil, err
		}
		return changes, check(s, changes)
	})
	if err != nil {
		return made, 0, err
	}
	return made, s.Rev(), nil
}

func (fakeServices) Sessions(context.Context, *cloud.Account) (int, error) { return 3, nil }
func (fakeServices) Shell(*cloud.App) string                               { return "psql" }
func (fakeServices) Kinds() []api.ServiceKind                              { return []api.ServiceKind{{Name: "postgres"}} }

func (fakeServices) AddKind(_ *cloud.State, text string) ([]cloud.Change, string, error) {
	return []cloud.Change{cloud.Put(&cloud.ServiceKind{Name: "own", Text: text})}, "own", nil
}

func (fakeServices) Catalog(context.Context, *cloud.Broker) ([]cloud.Offering, error) {
	return []cloud.Offering{{ID: "1", Name: "sql", Bindable: true, PlanUpdateable: true, Plans: []cloud.Plan{{ID: "2", Name: "small"}, {ID: "3", Name: "large"}}}}, nil
}

func (fakeServices) CheckParameters(json.RawMessage) error { return nil }

func (fakeServices) SetImage(_ *cloud.State, kind, version, image string) ([]cloud.Change, error) {
	return []cloud.Change{cloud.Put(&cloud.ServiceKind{Name: kind, Images: map[string]string{version: image}})}, nil
}
