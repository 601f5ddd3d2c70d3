package cli

import (
	"context"
	"slices"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/manifest"
)

// createServices creates the services of a manifest that the group lacks. Nothing has to wait for them here: a release waits
// for its accounts.
func (c *command) createServices(ctx context.Context, client *api.Client, group cloud.GroupName, wanted []manifest.NewService) error {
	if len(wanted) == 0 {
		return nil
	}
	known, err := client.Services(ctx, group)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if i := slices.IndexFunc(known, func(s api.Service) bool { return s.Name == w.Name }); i >= 0 {
			switch was := known[i]; {
			case was.Kind != w.Kind:
				return cloud.Errorf(cloud.Conflict, "service %s is of kind %s, and the manifest asks for %s", w.Name, was.Kind, w.Kind).WithCommand("micro service show %s", w.Name)
			case was.Broker != w.Broker:
				return cloud.Errorf(cloud.Conflict, "service %s is provided by %s, and the manifest asks for %s", w.Name, providerOf(was.Broker), providerOf(w.Broker)).
					WithCommand("micro service show %s", w.Name)
			}
			continue
		}
		_, err := client.CreateService(ctx, group, api.NewService{Name: w.Name, Kind: w.Kind, Version: w.Version, Memory: w.Memory, Production: w.Production, Broker: w.Broker, Plan: w.Plan, Parameters: w.Parameters})
		if err != nil {
			return err
		}
		c.say("service %s (%s) was created", w.Name, w.Kind)
	}
	return nil
}

// providerOf says who provides a service of a broker, or of none.
func providerOf(broker string) string {
	if broker == "" {
		return "micro"
	}
	return "broker " + broker
}
