package services

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Views shows the cloud as it is now.
type Views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// Writer changes the state in micro's own name.
type Writer interface {
	Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error
}

// Accounts is the duty that makes and revokes accounts, as Plan says. It keeps nothing that the next leader would miss.
type Accounts struct {
	Views    Views
	Writer   Writer
	Commands Commands
	HTTP     *http.Client // for brokers
	Log      *slog.Logger
	Now      func() time.Time

	mu     sync.Mutex
	busy   map[cloud.AppRef]bool
	retry  map[cloud.AppRef]time.Time // when an app's pause after a failure ends
	failed map[Step]int               // how often a step has failed in a row
	turns  map[cloud.AppRef]*sync.Mutex
	all    sync.WaitGroup
}

const (
	// tries is how often making an account may fail until the releases that wait for it are given up.
	tries = 3
	// retryAfter is the pause after a failure.
	retryAfter = time.Second
	// commandTimeout is how long making or revoking an account may take.
	commandTimeout = 30 * time.Second
	// busyWait is how soon to look again for apps whose accounts are being worked on.
	busyWait = 50 * time.Millisecond
)

// Name implements leader.Duty.
func (*Accounts) Name() string { return "accounts" }

// Run implements leader.Duty.
func (d *Accounts) Run(ctx context.Context) error {
	d.busy, d.retry, d.failed = map[cloud.AppRef]bool{}, map[cloud.AppRef]time.Time{}, map[Step]int{}
	defer d.all.Wait()
	var work cloud.Worklist
	pending := map[cloud.AppRef]bool{}
	view := d.Views.View()
	for {
		now := d.Now()
		for _, app := range work.Next(view, now) {
			pending[app] = true
			for a := range view.State.AccountsAt(app) {
				pending[a.ClientRef()] = true // the app is a service, which may be ready now
			}
		}
		wait := cloud.Never
		for client := range maps.Clone(pending) {
			again, done := d.begin(ctx, view, client, now)
			if !done {
				wait = busyWait
				continue
			}
			delete(pending, client)
			work.Due(client, again)
		}
		wait = min(wait, cloud.Until(work.Earliest(), now))
		var err error
		if view, err = cloud.ChangedWithin(ctx, d.Views, view, wait); err != nil {
			return nil
		}
	}
}

// begin begins to work on the accounts of an app, if there is anything to do. done is false while that goes on; then it
// returns when to look at the app again although nothing has changed.
func (d *Accounts) begin(ctx context.Context, v cloud.View, client cloud.AppRef, now time.Time) (again time.Time, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[client] {
		return again, false
	}
	steps, again := Plan(v, client, now)
	if len(steps) == 0 {
		return again, true
	}
	if pause := d.retry[client]; now.Before(pause) {
		return pause, true
	}
	d.busy[client] = true
	d.all.Go(func() {
		d.work(ctx, client)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, client)
	})
	return again, false
}

// work carries out steps until none is left. After a failure it carries out the others and pauses.
func (d *Accounts) work(ctx context.Context, client cloud.AppRef) {
	for pause := false; ctx.Err() == nil && !pause; {
		v := d.Views.View()
		steps, _ := Plan(v, client, d.Now())
		if len(steps) == 0 {
			return
		}
		for _, s := range steps {
			err := d.do(ctx, v, s)
			if ctx.Err() != nil {
				return
			}
			pause = d.note(ctx, s, err) || pause
		}
	}
}

// note remembers how a step went. It reports whether work must pause.
func (d *Accounts) note(ctx context.Context, s Step, err error) (pause bool) {
	d.mu.Lock()
	if err == nil {
		delete(d.failed, s)
		if s.Do == Fail { // a release that cannot be given up goes on waiting
			d.retry[s.client()] = d.Now().Add(patience)
		}
		d.mu.Unlock()
		return s.Do == Fail
	}
	d.failed[s]++
	n := d.failed[s]
	d.retry[s.client()] = d.Now().Add(min(retryAfter<<min(n-1, 6), time.Minute))
	d.mu.Unlock()
	d.Log.Warn("an account is not as it must be", "do", string(s.Do), "app", string(s.Client), "service", s.Service.String(), "err", err)
	if s.Do == Make && (n >= tries || errors.As(err, new(hopeless))) {
		s.Do, s.Reason = Fail, err.Error()
		if err := d.do(ctx, d.Views.View(), s); err != nil {
			d.Log.Error("cannot give up a release that lacks an account", "app", string(s.Client), "err", err)
		}
	}
	return true
}

// do carries out one step.
func (d *Accounts) do(ctx context.Context, v cloud.View, s Step) error {
	if service, ok := v.State.App(s.Service); ok && service.Service != nil && service.Service.Brokered != nil && (s.Do == Make || s.Do == Revoke) {
		return d.atBroker(ctx, s) // which takes as long as its plan says
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	switch s.Do {
	case Issue:
		return d.issue(ctx, s)
	case Make:
		if err := d.command(ctx, v, s); err != nil {
			return err
		}
		return d.write(ctx, s, func(a cloud.Account) *cloud.Account { a.Made = true; return &a })
	case End:
		return d.Writer.Write(ctx, "account", s.object(), func(st *cloud.State) ([]cloud.Change, error) {
			// Somebody may have begun to need it meanwhile.
			steps, _ := Plan(cloud.View{State: st, Instances: d.Views.View().Instances}, s.client(), d.Now())
			for _, still := range steps {
				if a, ok := st.Account(s.client(), s.binding()); ok && still == s {
					next := *a
					if next.Broker != nil { // it may be at work on the account, and must hear of its end
						next = *withRequest(next, cloud.BrokerRequest{Sent: next.Broker.Sent})
					}
					next.Ending = true
					return []cloud.Change{cloud.Put(&next)}, nil
				}
			}
			return nil, nil
		})
	case Revoke:
		if err := d.command(ctx, v, s); err != nil {
			return err
		}
		return d.write(ctx, s, func(cloud.Account) *cloud.Account { return nil })
	case Forget:
		return d.write(ctx, s, func(cloud.Account) *cloud.Account { return nil })
	case Fail:
		return d.giveUp(ctx, s)
	}
	return cloud.Errorf(cloud.Internal, "unknown action %q", s.Do)
}

func (s Step) client() cloud.AppRef { return cloud.AppRef{Group: s.Service.Group, App: s.Client} }

func (s Step) binding() cloud.Binding {
	return cloud.Binding{Service: s.Service.App, Account: s.N}
}

// object names the account for the audit log.
func (s Step) object() string { return s.Service.String() + " for " + s.client().String() }

// issue writes an account's object, with credentials.
func (d *Accounts) issue(ctx context.Context, s Step) error {
	password := rand.Text()
	return d.Writer.Write(ctx, "account", s.object(), func(st *cloud.State) ([]cloud.Change, error) {
		if _, there := st.Account(s.client(), s.binding()); there {
			return nil, nil
		}
		a, err := newAccount(st, s, password, d.Now())
		if err != nil {
			return nil, err
		}
		return []cloud.Change{cloud.Put(a)}, nil
	})
}

// command runs what makes or revokes an account.
func (d *Accounts) command(ctx context.Context, v cloud.View, s Step) error {
	service, ok := v.State.App(s.Service)
	a, there := v.State.Account(s.client(), s.binding())
	if !ok || !there || service.Service == nil {
		return nil // it changed meanwhile, and the next plan knows
	}
	kind, err := KindOf(v.State, service.Service.Kind)
	if err != nil {
		return err
	}
	command := kind.Bind
	switch {
	case service.Service.External && s.Do == Make:
		command = kind.Login
	case service.Service.External:
		command = ""
	case s.Do == Revoke:
		command = kind.Unbind
	}
	if command == "" {
		return nil
	}
	defer d.turn(s.Service)()
	return run(ctx, d.Commands, v, service, call{command: command, about: a.Credentials})
}

// turn waits until no other command changes accounts at the service: kinds may keep them in a file.
func (d *Accounts) turn(service cloud.AppRef) (end func()) {
	d.mu.Lock()
	if d.turns == nil {
		d.turns = map[cloud.AppRef]*sync.Mutex{}
	}
	t := d.turns[service]
	if t == nil {
		t = new(sync.Mutex)
		d.turns[service] = t
	}
	d.mu.Unlock()
	t.Lock()
	return t.Unlock
}

// write changes an account's object; nil deletes it.
func (d *Accounts) write(ctx context.Context, s Step, change func(cloud.Account) *cloud.Account) error {
	return d.Writer.Write(ctx, "account", s.object(), func(st *cloud.State) ([]cloud.Change, error) {
		a, ok := st.Account(s.client(), s.binding())
		if !ok {
			return nil, nil
		}
		if next := change(*a); next != nil {
			return []cloud.Change{cloud.Put(next)}, nil
		}
		return []cloud.Change{cloud.Delete(a)}, nil
	})
}

// giveUp fails the releases that wait for an account. What runs with the account already goes on.
func (d *Accounts) giveUp(ctx context.Context, s Step) error {
	return d.Writer.Write(ctx, "failed", s.client().String(), func(st *cloud.State) (changes []cloud.Change, err error) {
		app, ok := st.App(s.client())
		if !ok {
			return nil, nil
		}
		for rel := range st.Releases(s.client()) {
			waits := !rel.Up && st.Runs(rel) || app.Rollout != nil && app.Rollout.To == rel.N
			if !waits || st.Unmet(rel) == "" {
				continue
			}
			for _, b := range rel.Spec.Bindings {
				if b.Service == s.Service.App && b.Account == s.N {
					changes = append(changes, st.Fail(rel.ReleaseRef, cloud.Failure{
						At: d.Now(), Reason: "no account at service " + string(b.Service) + ": " + s.Reason, Hint: "micro service show " + s.Service.String(),
					})...)
				}
			}
		}
		return changes, nil
	})
}
