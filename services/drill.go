package services

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/task"
)

// Drill restores a backup into a throw-away service, and runs the kind's check there.
func (p *Provider) Drill(ctx context.Context, by cloud.Actor, ref cloud.AppRef, b *cloud.Backup, check Check, tell Tell) (*api.Drill, error) {
	began := p.Now()
	v := p.Views.View()
	service, kind, err := saved(v.State, ref)
	if err != nil {
		return nil, err
	}
	if err := fits(b, service); err != nil {
		return nil, err
	}
	if kind.Check == "" {
		return nil, cloud.Errorf(cloud.Invalid, "services of kind %s have no check", kind.Name)
	}
	fail := func(err error) (*api.Drill, error) {
		return nil, cloud.Errorf(cloud.CodeOf(err), "backup %s of %s is not proven: %w", b.ID, ref, err)
	}
	if err := p.checkBackup(ctx, b, tell); err != nil {
		return fail(err)
	}
	made, err := p.another(ctx, by, service, kind, drillName(ref.App), true, check)
	if err != nil {
		return fail(err)
	}
	defer p.discard(ctx, by, made.AppRef)
	target, err := p.awaitReady(ctx, made, tell)
	if err != nil {
		return fail(err)
	}
	if err := p.fill(ctx, target, kind, b, tell); err != nil {
		return fail(err)
	}
	said, err := p.check(ctx, target, kind, tell)
	if err != nil {
		return fail(err)
	}
	at := p.Now()
	d := &api.Drill{Backup: b.ID, Took: cloud.Duration(at.Sub(began)), Younger: cloud.Duration(began.Sub(b.Taken)), Checked: said}
	_, err = p.Store.Update(ctx, by, "drill-service", ref.String()+" "+string(b.ID), func(s *cloud.State) ([]cloud.Change, error) {
		known, err := s.MustBackup(ref, b.ID)
		if err != nil || known.Digest != b.Digest {
			return nil, nil // it was found in a place, or is deleted
		}
		next := *known
		next.Proven = &at
		return []cloud.Change{cloud.Put(&next)}, nil
	})
	return d, err
}

// drillName is the name of a throw-away service.
func drillName(of cloud.AppName) cloud.AppName {
	const most = 40 // leaves room for more in names that are made of it
	if len(of) > most {
		of = of[:most]
	}
	return of + "-drill-" + cloud.AppName(strings.ToLower(rand.Text()[:6]))
}

// check runs a kind's check in a service, and returns what it printed last.
func (p *Provider) check(ctx context.Context, service *cloud.App, kind *Kind, tell Tell) (string, error) {
	t := task.Begin(tell, p.Now, "verify", "check the data of "+service.AppRef.String(), 0)
	var out bytes.Buffer
	err := run(ctx, p.Commands, p.Views.View(), service, call{command: kind.Check, out: &out})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return api.Printable(lines[len(lines)-1]), t.Done(err)
}
