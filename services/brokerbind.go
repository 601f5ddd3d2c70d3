package services

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services/broker"
)

// hopeless is an error after which making an account is not tried again.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// newID returns an ID that is globally unique, for a broker: a UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	const digits = "0123456789abcdef"
	id := make([]byte, 0, 36)
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			id = append(id, '-')
		}
		id = append(id, digits[c>>4], digits[c&15])
	}
	return string(id)
}

// atBroker has a broker make or delete the binding of an account. It returns once that is done, has failed, or is not wanted
// any more: what the broker has accepted is asked for until then.
func (d *Accounts) atBroker(ctx context.Context, s Step) error {
	for n := 0; ; n++ {
		wait, done, err := d.askBroker(ctx, s)
		if err != nil || done {
			return err
		}
		if wanted, err := d.waitFor(ctx, s, pause(wait, n)); err != nil || !wanted {
			return err
		}
	}
}

// waitFor waits before the next request about an account. It reports whether that is wanted still.
func (d *Accounts) waitFor(ctx context.Context, s Step, wait time.Duration) (wanted bool, err error) {
	end := d.Now().Add(wait)
	for v := d.Views.View(); ; {
		left := end.Sub(d.Now())
		if wanted = d.still(v, s); !wanted || left <= 0 {
			return wanted, nil
		}
		if v, err = cloud.ChangedWithin(ctx, d.Views, v, left); err != nil {
			return false, err
		}
	}
}

// askBroker sends one request about an account, and writes down what came of it.
func (d *Accounts) askBroker(ctx context.Context, s Step) (wait time.Duration, done bool, err error) {
	v := d.Views.View()
	service, ok := v.State.App(s.Service)
	a, there := v.State.Account(s.client(), s.binding())
	if !ok || !there || service.Service == nil || service.Service.Brokered == nil || a.Broker == nil || !d.still(v, s) {
		return 0, true, nil // it changed meanwhile, and the next plan knows
	}
	if s.Do == Revoke && !a.Broker.Sent {
		return 0, true, d.write(ctx, s, func(cloud.Account) *cloud.Account { return nil }) // the broker has never heard of it
	}
	b := service.Service.Brokered
	known, err := v.State.MustBroker(b.Broker)
	if err != nil {
		return 0, false, err
	}
	client := &broker.Client{Broker: known, HTTP: d.HTTP, Timeout: broker.Timeout}
	of := broker.BindingOf{
		Instance: broker.Instance{Ref: s.Service, ID: b.Instance, ServiceID: b.ServiceID, PlanID: b.PlanID, By: d.wantedBy(v, s)},
		Binding:  a.Broker.ID, App: s.client().String(),
	}
	d.asBound(v.State, s, known, b.PlanID, &of)
	if s.Do == Make {
		return d.bind(ctx, s, a, client, of, pollingLimit(known, b.PlanID))
	}
	return d.unbind(ctx, s, a, client, of, pollingLimit(known, b.PlanID))
}

// asBound completes a binding by what the app's releases say of it: the parameters, or the account that it is the successor
// of, if the broker knows successors and that account is in use.
func (d *Accounts) asBound(st *cloud.State, s Step, known *cloud.Broker, planID string, of *broker.BindingOf) {
	binding, ok := st.BindingFor(s.client(), s.Service.App, s.N)
	if !ok {
		return
	}
	if binding.Parameters != "" {
		of.Parameters = json.RawMessage(binding.Parameters)
	}
	plan, _ := known.PlanOf(planID)
	before, ok := st.Account(s.client(), cloud.Binding{Service: s.Service.App, Account: binding.Previous})
	if ok && plan.Rotatable && before.Made && !before.Ending && before.Broker != nil && (before.Broker.Expires.IsZero() || d.Now().Before(before.Broker.Expires)) {
		of.Predecessor = before.Broker.ID
	}
}

// still reports whether a step is to be done yet.
func (d *Accounts) still(v cloud.View, s Step) bool {
	steps, _ := Plan(v, s.client(), d.Now())
	for _, other := range steps {
		if other == s {
			return true
		}
	}
	return false
}

// wantedBy is who made the release that an account is for, "" if it is for none.
func (d *Accounts) wantedBy(v cloud.View, s Step) string {
	if rel, ok := v.State.Release(s.client().Release(s.N)); ok && s.Do == Make {
		return rel.By
	}
	return ""
}

// bind sends one request that makes a binding, or asks how far the broker is.
func (d *Accounts) bind(ctx context.Context, s Step, a *cloud.Account, client *broker.Client, of broker.BindingOf, limit time.Duration) (time.Duration, bool, error) {
	request := a.Broker.BrokerRequest
	if request.Accepted {
		return d.pollBind(ctx, s, request, client, of, limit)
	}
	if !request.Sent {
		if err := d.writeRequest(ctx, s, cloud.BrokerRequest{Sent: true}); err != nil {
			return 0, false, err
		}
	}
	got := client.Bind(ctx, of)
	if ctx.Err() != nil {
		return 0, false, ctx.Err() // the next leader sends it again
	}
	switch got.Outcome {
	case broker.Done:
		return 0, true, d.made(ctx, s, got.Binding)
	case broker.Taken, broker.Accepted:
		if got.Outcome == broker.Accepted || request.Sent {
			return again, false, d.writeRequest(ctx, s, cloud.BrokerRequest{Sent: true, Accepted: true, Operation: got.Operation, Began: d.Now()})
		}
	case broker.Busy:
		if d.Now().Sub(a.Created) < limit {
			return orAgain(got.RetryAfter), false, nil
		}
	case broker.Unsent:
		if !request.Sent {
			if err := d.writeRequest(ctx, s, cloud.BrokerRequest{}); err != nil {
				return 0, false, err
			}
		}
		return 0, false, errors.New(got.Reason) // the step is done again
	case broker.Outdated, broker.Rejected, broker.Failed, broker.Orphaned:
	}
	return 0, false, d.endFailed(ctx, s, got, request.Sent)
}

// pollBind asks how far the broker is with a binding, and fetches what it has made.
func (d *Accounts) pollBind(ctx context.Context, s Step, request cloud.BrokerRequest, client *broker.Client, of broker.BindingOf, limit time.Duration) (time.Duration, bool, error) {
	got := client.LastBindingOperation(ctx, broker.Bind, of, request.Operation)
	if got.Outcome == broker.Done {
		got = client.Fetch(ctx, of)
	}
	if ctx.Err() != nil {
		return 0, false, ctx.Err()
	}
	left := limit - d.Now().Sub(request.Began)
	switch {
	case got.Outcome == broker.Done:
		return 0, true, d.made(ctx, s, got.Binding)
	case got.Outcome == broker.Accepted && left > 0:
		return orAgain(min(got.RetryAfter, left)), false, nil
	case got.Outcome == broker.Accepted:
		got.Reason = "the broker did not finish it in time"
	}
	got.Outcome = broker.Orphaned
	return 0, false, d.endFailed(ctx, s, got, true)
}

// unbind sends one request that deletes a binding, or asks how far the broker is. A failure is an error: the step is done
// again until the broker says that the binding has gone.
func (d *Accounts) unbind(ctx context.Context, s Step, a *cloud.Account, client *broker.Client, of broker.BindingOf, limit time.Duration) (time.Duration, bool, error) {
	request := a.Broker.BrokerRequest
	var got broker.Answer
	if request.Accepted {
		got = client.LastBindingOperation(ctx, broker.Unbind, of, request.Operation)
	} else {
		got = client.Unbind(ctx, of)
	}
	if ctx.Err() != nil {
		return 0, false, ctx.Err()
	}
	late := request.Accepted && d.Now().Sub(request.Began) > limit
	switch {
	case got.Outcome == broker.Done:
		return 0, true, d.write(ctx, s, func(cloud.Account) *cloud.Account { return nil })
	case got.Outcome == broker.Accepted && !request.Accepted:
		return again, false, d.writeRequest(ctx, s, cloud.BrokerRequest{Sent: true, Accepted: true, Operation: got.Operation, Began: d.Now()})
	case got.Outcome == broker.Accepted && !late && !got.Gone():
		return orAgain(got.RetryAfter), false, nil
	case got.Outcome == broker.Busy:
		return orAgain(got.RetryAfter), false, nil
	}
	if request.Accepted { // the next request deletes it again
		if err := d.writeRequest(ctx, s, cloud.BrokerRequest{Sent: true}); err != nil {
			return 0, false, err
		}
	}
	return 0, false, errors.New(got.Reason)
}

// writeRequest writes down how far a request to the broker has got.
func (d *Accounts) writeRequest(ctx context.Context, s Step, r cloud.BrokerRequest) error {
	return d.write(ctx, s, func(a cloud.Account) *cloud.Account { return withRequest(a, r) })
}

// withRequest returns an account whose request to the broker has got as far as r.
func withRequest(a cloud.Account, r cloud.BrokerRequest) *cloud.Account {
	b := *a.Broker
	b.BrokerRequest = r
	a.Broker = &b
	return &a
}

// endFailed ends an account that a broker did not make. If the broker may have it nevertheless, it is deleted there.
func (d *Accounts) endFailed(ctx context.Context, s Step, got broker.Answer, resent bool) error {
	orphan := got.Outcome == broker.Orphaned || resent && got.Outcome != broker.Rejected
	err := d.write(ctx, s, func(a cloud.Account) *cloud.Account {
		next := withRequest(a, cloud.BrokerRequest{Sent: orphan})
		next.Ending = true
		return next
	})
	if err != nil {
		return err
	}
	return hopeless{errors.New(got.Reason)}
}

// made writes down the credentials of an account.
func (d *Accounts) made(ctx context.Context, s Step, b *broker.Binding) error {
	return d.write(ctx, s, func(a cloud.Account) *cloud.Account {
		next := withRequest(a, cloud.BrokerRequest{Sent: true})
		next.Made, next.Credentials, next.Broker.SyslogDrain = true, credentialsOf(b.Credentials), b.SyslogDrain
		next.Broker.Expires = b.Expires()
		return next
	})
}

// fileName is what a credential must be called to become a file.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

// credentialsOf reads the credentials of a broker. What they are called is the broker's to say, so that those which are
// usual are found under each of their usual names.
func credentialsOf(raw map[string]json.RawMessage) cloud.Credentials {
	texts := map[string]string{}
	for name, value := range raw {
		var s string
		if json.Unmarshal(value, &s) != nil {
			s = string(value)
		}
		texts[name] = s
	}
	first := func(names ...string) string {
		for _, n := range names {
			if texts[n] != "" && texts[n] != "null" {
				return texts[n]
			}
		}
		return ""
	}
	c := cloud.Credentials{
		URL: first("uri", "url", "URI", "URL", "connection_string"), Host: first("host", "hostname"), User: first("username", "user"),
		Password: first("password", "pass"), Database: first("database", "name", "dbname", "db"), More: map[string]string{}, Raw: raw,
	}
	c.Port, _ = strconv.Atoi(first("port")) // some have none
	for name, value := range texts {
		if fileName.MatchString(name) {
			c.More[name] = value
		}
	}
	return c
}
