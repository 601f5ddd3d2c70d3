package services

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/task"
)

// Upgrade has a service run from a newer image of its major version. It is backed up first. The release is 0 if the service
// runs from that image already. A broker's service has no release: it shows how far the broker is.
func (p *Provider) Upgrade(ctx context.Context, by cloud.Actor, ref cloud.AppRef, version string, check Check, tell Tell) (made cloud.ReleaseRef, err error) {
	state := p.Store.State()
	if app, ok := state.App(ref); ok && app.Service != nil && app.Service.Brokered != nil {
		return ref.Release(0), p.upgradeAtBroker(ctx, by, ref, version)
	}
	service, kind, err := saved(state, ref)
	if err != nil {
		return made, err
	}
	reference, version, err := kind.image(cmp.Or(version, service.Service.Version))
	if err != nil {
		return made, err
	}
	if err := sameMajor(service, kind, version); err != nil {
		return made, err
	}
	_, rel, err := state.MustRelease(ref.Release(0))
	if err != nil {
		return made, err
	}
	t := task.Begin(tell, p.Now, "pull", "pull "+reference, 0)
	image, err := p.Images.Pull(ctx, reference, func(runtime.Progress) {})
	if err = t.Done(err); err != nil {
		return made, err
	}
	if image.Digest == rel.Spec.Image.Digest && version == service.Service.Version {
		return ref.Release(0), nil
	}
	if _, err := p.Backup(ctx, by, ref, "", false, tell); err != nil {
		return made, cloud.Errorf(cloud.CodeOf(err), "%s was not upgraded: %w", ref, err)
	}
	at := cloud.Stamp{At: p.Now().UTC().Truncate(time.Millisecond), By: by.Name}
	_, err = p.Store.Update(ctx, by, "upgrade-service", ref.String()+" "+version, func(s *cloud.State) (changes []cloud.Change, err error) {
		if changes, made, err = s.UpgradeService(ref, version, cloud.Image{Digest: image.Digest, Name: reference}, at); err != nil {
			return nil, err
		}
		return changes, check(s, changes)
	})
	return made, err
}

// upgradeAtBroker has a broker bring a service to the maintenance version of its plan.
func (p *Provider) upgradeAtBroker(ctx context.Context, by cloud.Actor, ref cloud.AppRef, version string) error {
	if version != "" {
		return cloud.Errorf(cloud.Invalid, "the version of %s is its plan's, and its broker says which that is", ref).WithCommand("micro service upgrade %s", ref)
	}
	at := cloud.Stamp{At: p.Now().UTC().Truncate(time.Millisecond), By: by.Name}
	_, err := p.Store.Update(ctx, by, "upgrade-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) { return s.UpgradeBrokered(ref, at) })
	return err
}

// sameMajor reports that data of a service's version cannot be read by another one, and what to do instead.
func sameMajor(service *cloud.App, kind *Kind, version string) error {
	now, _, _ := strings.Cut(service.Service.Version, ".")
	then, _, _ := strings.Cut(version, ".")
	if now == then {
		return nil
	}
	name := service.App + "-" + cloud.AppName(then)
	return cloud.Errorf(cloud.Conflict, "service %s is %s %s, and %s %s may not read its files: they are of another major version", service.AppRef, kind.Title, service.Service.Version, kind.Title, version).
		WithHint("micro service backup %[1]s; micro service create %[2]s %[3]s --version %[4]s; micro service restore %[3]s latest --of %[1]s --yes; micro rebind APP --from %[1]s --to %[3]s", service.AppRef, kind.Name, name, version)
}
