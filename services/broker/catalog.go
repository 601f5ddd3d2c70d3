package broker

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/protoduction/micro/cloud"
)

// parseCatalog reads a catalog, and reports all that is wrong with it.
func parseCatalog(body []byte) ([]cloud.Offering, error) {
	var catalog struct {
		Services *[]cloud.Offering `json:"services"`
	}
	if err := json.Unmarshal(body, &catalog); err != nil {
		return nil, fmt.Errorf("the catalog is not JSON as the specification has it: %w", err)
	}
	if catalog.Services == nil {
		return nil, errors.New("the catalog has no services")
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	ids, names := map[string]bool{}, map[string]bool{}
	for _, o := range *catalog.Services {
		if o.ID == "" || o.Name == "" {
			bad("a service has no id or no name")
			continue
		}
		if ids[o.ID] || names[o.Name] {
			bad("two services have the name %q or the id %q", o.Name, o.ID)
		}
		ids[o.ID], names[o.Name] = true, true
		if len(o.Plans) == 0 {
			bad("service %q has no plan", o.Name)
		}
		plans := map[string]bool{}
		for _, p := range o.Plans {
			if p.ID == "" || p.Name == "" {
				bad("a plan of service %q has no id or no name", o.Name)
				continue
			}
			if ids[p.ID] || plans[p.Name] {
				bad("two plans of service %q have the name %q or the id %q", o.Name, p.Name, p.ID)
			}
			ids[p.ID], plans[p.Name] = true, true
		}
	}
	return *catalog.Services, errors.Join(errs...)
}
