package cloud

import (
	"encoding/json"
	"slices"
)

// NewBrokered is a service to create at a broker.
type NewBrokered struct {
	App        AppRef
	Broker     string
	Offering   string
	Plan       string
	Instance   string // a new ID for the broker
	Variable   string // see Service.Variable
	Parameters json.RawMessage
	Production bool
}

// CreateBrokered returns the changes that make a service which a broker is to provide. It has no release.
func (s *State) CreateBrokered(n NewBrokered, at Stamp) ([]Change, error) {
	if err := s.checkNewApp(n.App); err != nil {
		return nil, err
	}
	if app, ok := s.App(n.App); ok {
		if app.Service != nil && app.Service.Deleted != nil {
			return nil, Errorf(Conflict, "service %s was deleted, and is still kept", n.App).WithCommand("micro service undelete %s", n.App)
		}
		return nil, Errorf(Conflict, "%s %s exists already", app.noun(), n.App)
	}
	broker, err := s.MustBroker(n.Broker)
	if err != nil {
		return nil, err
	}
	offering, err := broker.MustOffering(n.Offering)
	if err != nil {
		return nil, err
	}
	plan, err := offering.MustPlan(n.Plan)
	if err != nil {
		return nil, err
	}
	for _, what := range offering.Requires {
		if what != "syslog_drain" {
			return nil, Errorf(Conflict, "%s of broker %s needs %s, which micro does not have", offering.Name, broker.Name, what)
		}
	}
	service := &Service{Kind: offering.Name, Version: plan.Name, Variable: n.Variable, Production: n.Production, Brokered: &Brokered{
		Broker: broker.Name, Instance: n.Instance, ServiceID: offering.ID, PlanID: plan.ID, Parameters: n.Parameters, Unbindable: !offering.CanBind(plan), Tags: offering.Tags,
		Task: &BrokerTask{Do: BrokerProvision, By: at.By, Started: at.At, Maintenance: plan.MaintenanceVersion()},
	}}
	return []Change{Put(&App{AppRef: n.App, Created: at.At, Service: service})}, nil
}

// MustBrokered returns a broker's service that is not deleted.
func (s *State) MustBrokered(r AppRef) (*App, error) {
	app, err := s.MustService(r)
	if err == nil && app.Service.Brokered == nil {
		err = Errorf(Conflict, "service %s is not of a broker", r).WithCommand("micro service show %s", r)
	}
	return app, err
}

// UpdateBrokered returns the changes after which a broker is asked for another plan of a service, or other parameters. plan
// "" leaves the plan.
func (s *State) UpdateBrokered(r AppRef, plan string, parameters json.RawMessage, at Stamp) ([]Change, error) {
	app, err := s.mustBeMade(r)
	if err != nil {
		return nil, err
	}
	b := app.Service.Brokered
	if plan == "" && len(parameters) == 0 {
		return nil, Errorf(Invalid, "neither another plan nor other parameters").WithHint("for example --plan large")
	}
	task := &BrokerTask{Do: BrokerUpdate, By: at.By, Started: at.At, Parameters: parameters}
	if plan != "" {
		broker, err := s.MustBroker(b.Broker)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(broker.Catalog, func(o Offering) bool { return o.ID == b.ServiceID })
		if i < 0 {
			return nil, Errorf(Conflict, "broker %s does not offer %s any more", b.Broker, app.Service.Kind).WithCommand("micro service broker show %s", b.Broker)
		}
		offering := broker.Catalog[i]
		next, err := offering.MustPlan(plan)
		if err != nil {
			return nil, err
		}
		if now := slices.IndexFunc(offering.Plans, func(p Plan) bool { return p.ID == b.PlanID }); now < 0 || !offering.CanUpdate(offering.Plans[now]) {
			return nil, Errorf(Conflict, "services of plan %s of %s cannot get another plan", app.Service.Version, app.Service.Kind)
		}
		task.Plan, task.PlanID, task.Maintenance = next.Name, next.ID, next.MaintenanceVersion()
	}
	return []Change{app.withBrokered(func(_ *Service, b *Brokered) { b.Task, b.Failure = task, "" })}, nil
}

// mustBeMade returns a broker's service that the broker has made and does not work on.
func (s *State) mustBeMade(r AppRef) (*App, error) {
	app, err := s.MustBrokered(r)
	if err != nil {
		return nil, err
	}
	switch b := app.Service.Brokered; {
	case b.Task != nil:
		return nil, Errorf(Conflict, "broker %s is working on service %s (%s)", b.Broker, r, b.Task.Do).WithCommand("micro service show %s", r)
	case !b.Made:
		return nil, Errorf(Conflict, "service %s was not made: %s", r, b.Failure).WithCommand("micro service delete %s", r)
	}
	return app, nil
}

// UpgradeTo returns the maintenance that a broker has for a service and that the service does not run on yet; ok is false if
// there is none.
func (s *State) UpgradeTo(service *Service) (m Maintenance, ok bool) {
	broker, err := s.MustBroker(service.Brokered.Broker)
	if err != nil {
		return m, false
	}
	plan, _ := broker.PlanOf(service.Brokered.PlanID)
	if plan.Maintenance == nil || !service.Brokered.Made || plan.Maintenance.Version == service.Brokered.Maintenance {
		return m, false
	}
	return *plan.Maintenance, true
}

// UpgradeBrokered returns the changes after which a broker is asked to bring a service to the maintenance version of its
// plan. There are none if the service has that.
func (s *State) UpgradeBrokered(r AppRef, at Stamp) ([]Change, error) {
	app, err := s.mustBeMade(r)
	if err != nil {
		return nil, err
	}
	to, ok := s.UpgradeTo(app.Service)
	if !ok {
		return nil, nil
	}
	task := &BrokerTask{Do: BrokerUpdate, By: at.By, Started: at.At, Maintenance: to.Version}
	return []Change{app.withBrokered(func(_ *Service, b *Brokered) { b.Task, b.Failure = task, "" })}, nil
}

// DeprovisionService returns the changes after which a broker deletes a service at once.
func (s *State) DeprovisionService(r AppRef, at Stamp) ([]Change, error) {
	if app, ok := s.App(r); ok && app.Service != nil && app.Service.Brokered != nil && app.Service.Deleted != nil && !app.Service.Purging {
		return s.beginDeprovision(nil, r, at), nil
	}
	if _, err := s.MustBrokered(r); err != nil {
		return nil, err
	}
	changes, err := s.DeleteService(r, at)
	if err != nil {
		return nil, err
	}
	return s.beginDeprovision(changes, r, at), nil
}

// beginDeprovision adds to changes, which delete a broker's service, that it can't come back.
func (s *State) beginDeprovision(changes []Change, r AppRef, at Stamp) []Change {
	app, ok := s.Apply(s.Rev()+1, changes).App(r)
	if !ok {
		return changes
	}
	return []Change{app.withBrokered(func(service *Service, b *Brokered) {
		service.Purging = true
		b.Task = &BrokerTask{Do: BrokerDeprovision, By: at.By, Started: at.At}
	})}
}

// ExpireBrokered returns the changes after which a broker deletes a service that was deleted DeletedFor ago.
func (s *State) ExpireBrokered(r AppRef, at Stamp) []Change {
	app, ok := s.App(r)
	if !ok || app.Service == nil || app.Service.Brokered == nil || app.Service.Purging || app.Service.Deleted == nil || !at.At.After(app.Service.Deleted.Add(DeletedFor)) {
		return nil
	}
	return s.beginDeprovision(nil, r, at)
}

// ChangeBrokered returns the changes that change what is known of a broker's service while task is under way; none if it is
// not any more.
func (s *State) ChangeBrokered(r AppRef, task *BrokerTask, change func(*Service, *Brokered)) []Change {
	app, ok := s.App(r)
	if !ok || app.Service == nil || app.Service.Brokered == nil || app.Service.Brokered.Task == nil {
		return nil
	}
	if now := app.Service.Brokered.Task; now.Do != task.Do || !now.Started.Equal(task.Started) {
		return nil
	}
	return []Change{app.withBrokered(change)}
}

// withBrokered returns the change of a broker's service. The task is a copy, which may be changed too.
func (a *App) withBrokered(change func(*Service, *Brokered)) Change {
	next, service, brokered := *a, *a.Service, *a.Service.Brokered
	if brokered.Task != nil {
		task := *brokered.Task
		brokered.Task = &task
	}
	change(&service, &brokered)
	service.Brokered, next.Service = &brokered, &service
	return Put(&next)
}
