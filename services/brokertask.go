package services

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services/broker"
)

// step sends one request and writes down what came of it. It returns how long to wait before the next one.
func (d *Brokers) step(ctx context.Context, app *cloud.App) (wait time.Duration, err error) {
	b := app.Service.Brokered
	task := b.Task
	state := d.Views.View().State
	known, err := state.MustBroker(b.Broker)
	if err != nil {
		return 0, d.end(ctx, app, "", err.Error(), false)
	}
	if task.Do == cloud.BrokerDeprovision && hasAccounts(state, app.AppRef) {
		return again, nil // the bindings go first
	}
	client := &broker.Client{Broker: known, HTTP: d.HTTP, Timeout: broker.Timeout}
	i := broker.Instance{Ref: app.AppRef, ID: b.Instance, ServiceID: b.ServiceID, PlanID: b.PlanID, By: task.By, Maintenance: b.Maintenance}
	if task.Accepted {
		a := client.LastOperation(ctx, verbOf(task.Do), i, task.Operation)
		if ctx.Err() != nil {
			return 0, nil
		}
		left := pollingLimit(known, b.PlanID) - d.Now().Sub(task.Began)
		a.RetryAfter = max(min(a.RetryAfter, left), 0)
		return d.polled(ctx, app, a, left <= 0)
	}
	before := task.Sent
	if !before {
		if err := d.change(ctx, app, func(_ *cloud.Service, b *cloud.Brokered) { b.Task.Sent = true }); err != nil {
			return 0, err
		}
	}
	var a broker.Answer
	switch task.Do {
	case cloud.BrokerProvision:
		i.Maintenance = task.Maintenance
		a = client.Provision(ctx, i, b.Parameters)
	case cloud.BrokerUpdate:
		a = client.Update(ctx, i, broker.Change{PlanID: task.PlanID, Maintenance: task.Maintenance, Parameters: task.Parameters})
	case cloud.BrokerDeprovision, cloud.BrokerClean:
		a = client.Deprovision(ctx, i)
	}
	if ctx.Err() != nil {
		return 0, nil // the next leader sends it again
	}
	if a.Outcome == broker.Outdated && !task.Refreshed {
		return again, d.refresh(ctx, app, client)
	}
	return d.answered(ctx, app, a, before)
}

// refresh fetches the catalog of a broker that has another version of maintenance than a task asks for. The task asks for
// the version of the new catalog then.
func (d *Brokers) refresh(ctx context.Context, app *cloud.App, client *broker.Client) error {
	catalog, err := client.Catalog(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return d.end(ctx, app, broker.Rejected, "its catalog has changed, and cannot be fetched: "+err.Error(), false)
	}
	return d.Writer.Write(ctx, "broker", app.String(), func(s *cloud.State) ([]cloud.Change, error) {
		changes, err := s.RefreshBroker(client.Broker.Name, catalog, d.Now())
		if err != nil {
			return nil, err
		}
		fresh, err := s.Apply(s.Rev()+1, changes).MustBroker(client.Broker.Name)
		if err != nil {
			return nil, err
		}
		return append(changes, s.ChangeBrokered(app.AppRef, app.Service.Brokered.Task, func(_ *cloud.Service, b *cloud.Brokered) {
			id := b.PlanID
			if b.Task.PlanID != "" {
				id = b.Task.PlanID
			}
			plan, _ := fresh.PlanOf(id)
			b.Task.Maintenance, b.Task.Refreshed, b.Task.Sent = plan.MaintenanceVersion(), true, false
		})...), nil
	})
}

func hasAccounts(s *cloud.State, ref cloud.AppRef) bool {
	for range s.AccountsAt(ref) {
		return true
	}
	return false
}

func verbOf(do cloud.BrokerVerb) broker.Verb {
	switch do {
	case cloud.BrokerProvision:
		return broker.Provision
	case cloud.BrokerUpdate:
		return broker.Update
	case cloud.BrokerDeprovision, cloud.BrokerClean:
	}
	return broker.Deprovision
}

// pollingLimit is how long a broker may work on something of a plan.
func pollingLimit(b *cloud.Broker, planID string) time.Duration {
	if p, ok := b.PlanOf(planID); ok && p.MaxPolling > 0 {
		return min(time.Duration(min(p.MaxPolling, int64(maxPolling/time.Second)))*time.Second, maxPolling)
	}
	return maxPolling
}

// answered writes down the answer to a request. resent says that it may have been sent before.
func (d *Brokers) answered(ctx context.Context, app *cloud.App, a broker.Answer, resent bool) (time.Duration, error) {
	task := app.Service.Brokered.Task
	deletes := verbOf(task.Do) == broker.Deprovision
	switch a.Outcome {
	case broker.Done:
		return 0, d.done(ctx, app, a)
	case broker.Accepted:
		return again, d.accept(ctx, app, a)
	case broker.Taken:
		if task.Do == cloud.BrokerProvision && resent { // it is ours, and the broker will say how far it is
			return again, d.accept(ctx, app, a)
		}
	case broker.Busy:
		if deletes || d.Now().Sub(task.Started) < maxPolling {
			return orAgain(a.RetryAfter), d.remark(ctx, app, a.Reason)
		}
	case broker.Unsent:
		limit := unsentFor
		if resent { // the broker may have got it
			limit = maxPolling
		}
		if deletes || d.Now().Sub(task.Started) < limit {
			return again, d.change(ctx, app, func(_ *cloud.Service, b *cloud.Brokered) { b.Task.Sent, b.Failure = resent, a.Reason })
		}
	case broker.Outdated, broker.Rejected, broker.Failed, broker.Orphaned:
	}
	if deletes { // until the broker says that it has gone
		return orAgain(a.RetryAfter), d.remark(ctx, app, a.Reason)
	}
	return 0, d.end(ctx, app, a.Outcome, a.Reason, a.Unusable)
}

func orAgain(wait time.Duration) time.Duration {
	if wait == 0 {
		return again
	}
	return wait
}

// polled writes down how far a broker is. late says that it has taken longer than its plan allows.
func (d *Brokers) polled(ctx context.Context, app *cloud.App, a broker.Answer, late bool) (time.Duration, error) {
	task := app.Service.Brokered.Task
	deletes := verbOf(task.Do) == broker.Deprovision
	switch {
	case a.Outcome == broker.Done:
		return 0, d.done(ctx, app, a)
	case deletes && (a.Outcome != broker.Accepted || a.Gone() || late):
		return again, d.change(ctx, app, func(_ *cloud.Service, b *cloud.Brokered) { // sent again
			b.Task.Accepted, b.Task.Operation, b.Failure = false, "", a.Reason
		})
	case a.Outcome == broker.Accepted && !late:
		return orAgain(a.RetryAfter), nil
	case a.Outcome == broker.Accepted:
		a.Outcome, a.Reason = broker.Orphaned, "the broker did not finish it in time"
		if task.Do == cloud.BrokerUpdate {
			a.Outcome = broker.Failed
		}
	}
	return 0, d.end(ctx, app, a.Outcome, a.Reason, a.Unusable)
}

// change changes what is known of a service, unless its task has changed meanwhile.
func (d *Brokers) change(ctx context.Context, app *cloud.App, change func(*cloud.Service, *cloud.Brokered)) error {
	return d.Writer.Write(ctx, "broker", app.String(), func(s *cloud.State) ([]cloud.Change, error) {
		return s.ChangeBrokered(app.AppRef, app.Service.Brokered.Task, change), nil
	})
}

// accept writes down that a broker works on a task.
func (d *Brokers) accept(ctx context.Context, app *cloud.App, a broker.Answer) error {
	return d.change(ctx, app, func(_ *cloud.Service, b *cloud.Brokered) {
		b.Task.Accepted, b.Task.Operation, b.Task.Began, b.Failure = true, a.Operation, d.Now(), ""
		if a.Dashboard != "" {
			b.Dashboard = a.Dashboard
		}
	})
}

// remark writes down why a task has not succeeded yet.
func (d *Brokers) remark(ctx context.Context, app *cloud.App, reason string) error {
	if app.Service.Brokered.Failure == reason || app.Service.Brokered.Task.Do == cloud.BrokerClean {
		return nil // the failure of the provisioning stays
	}
	return d.change(ctx, app, func(_ *cloud.Service, b *cloud.Brokered) { b.Failure = reason })
}

// done writes down that a task has succeeded.
func (d *Brokers) done(ctx context.Context, app *cloud.App, a broker.Answer) error {
	task := app.Service.Brokered.Task
	if task.Do == cloud.BrokerDeprovision {
		d.note(app, "deprovisioned", "broker %s has deleted service %s", app.Service.Brokered.Broker, app.AppRef)
		return d.Writer.Write(ctx, "purge-service", app.String(), func(s *cloud.State) ([]cloud.Change, error) {
			if len(s.ChangeBrokered(app.AppRef, task, func(*cloud.Service, *cloud.Brokered) {})) == 0 {
				return nil, nil
			}
			return s.PurgeService(app.AppRef), nil
		})
	}
	return d.change(ctx, app, func(service *cloud.Service, b *cloud.Brokered) {
		b.Task = nil
		if task.Do == cloud.BrokerClean {
			return // the failure of the provisioning stays
		}
		b.Made, b.Failure, b.Unusable = true, "", false
		if a.Dashboard != "" {
			b.Dashboard = a.Dashboard
		}
		if task.PlanID != "" {
			b.PlanID, service.Version = task.PlanID, task.Plan
		}
		if task.Maintenance != "" {
			b.Maintenance = task.Maintenance
		}
	})
}

// end writes down that a task has failed. What a provisioning may have left is deleted.
func (d *Brokers) end(ctx context.Context, app *cloud.App, outcome broker.Outcome, reason string, unusable bool) error {
	d.Log.Warn("a broker has not done what it was asked", "service", app.String(), "do", string(app.Service.Brokered.Task.Do), "err", reason)
	d.note(app, "failed", "broker %s did not %s service %s: %s", app.Service.Brokered.Broker, app.Service.Brokered.Task.Do, app.AppRef, reason)
	return d.change(ctx, app, func(_ *cloud.Service, b *cloud.Brokered) {
		b.Failure = reason
		if b.Task.Do == cloud.BrokerUpdate {
			b.Unusable = unusable
		}
		if b.Task.Do == cloud.BrokerProvision && outcome == broker.Orphaned {
			b.Task = &cloud.BrokerTask{Do: cloud.BrokerClean, Started: d.Now()}
			return
		}
		b.Task = nil
	})
}

func (d *Brokers) note(app *cloud.App, kind, format string, args ...any) {
	d.Events.Add(api.Event{Time: d.Now(), Group: app.Group, App: app.App, Kind: "broker." + kind, Object: app.String(), Text: fmt.Sprintf(format, args...)})
}

// variableOf returns the environment variable that apps expect the URL of a broker's service in: that of the kind which its
// name or its tags name, "" for none.
func variableOf(s *cloud.State, o cloud.Offering) string {
	for _, k := range Kinds(s) {
		for _, tag := range append([]string{o.Name}, o.Tags...) {
			if tag == k.Name || slices.Contains(k.Schemes, tag) {
				return k.Variable
			}
		}
	}
	return ""
}
