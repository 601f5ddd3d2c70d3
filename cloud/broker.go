package cloud

import (
	"encoding/json"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Broker is an Open Service Broker, which provides services that run elsewhere. Admins of the cloud say which brokers there
// are; whoever may create a service may create one of theirs.
type Broker struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// Catalog is what the broker offered when it was last asked, at Fetched.
	Catalog []Offering `json:"catalog"`
	Fetched time.Time  `json:"fetched"`
	Created time.Time  `json:"created"`
	By      string     `json:"by"`
}

// Offering is a kind of service of a broker. The names of its fields are those of the specification.
type Offering struct {
	ID              string   `json:"id"`
	Name            string   `json:"name"`
	Description     string   `json:"description"`
	Tags            []string `json:"tags,omitempty"`
	Requires        []string `json:"requires,omitempty"`
	Bindable        bool     `json:"bindable"`
	PlanUpdateable  bool     `json:"plan_updateable,omitempty"`
	Plans           []Plan   `json:"plans"`
	BindingsFetched bool     `json:"bindings_retrievable,omitempty"`
}

// Plan is a size of an Offering.
type Plan struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	Description    string `json:"description"`
	Free           *bool  `json:"free,omitempty"` // nil is true
	Bindable       *bool  `json:"bindable,omitempty"`
	PlanUpdateable *bool  `json:"plan_updateable,omitempty"`
	// Rotatable says that a binding may be made as the successor of another one.
	Rotatable bool `json:"binding_rotatable,omitempty"`
	// Maintenance is the version of the platform below services of the plan, nil for none.
	Maintenance *Maintenance `json:"maintenance_info,omitempty"`
	// MaxPolling is how many seconds the broker may work on an operation, 0 for the platform's limit.
	MaxPolling int64 `json:"maximum_polling_duration,omitempty"`
}

// Maintenance is a version of what services of a plan run on, and what the change to it means.
type Maintenance struct {
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
}

// MaintenanceVersion is the version of the plan's maintenance, "" for none.
func (p Plan) MaintenanceVersion() string {
	if p.Maintenance == nil {
		return ""
	}
	return p.Maintenance.Version
}

// PlanOf returns the plan with an ID.
func (b *Broker) PlanOf(id string) (Plan, bool) {
	for _, o := range b.Catalog {
		for _, p := range o.Plans {
			if p.ID == id {
				return p, true
			}
		}
	}
	return Plan{}, false
}

// Key is "brokers/NAME".
func (b *Broker) Key() Key { return Key("brokers/" + b.Name) }

func (b *Broker) touch(*touched)    {}
func (b *Broker) indexes() []string { return nil }

// CanBind reports whether apps can be bound to services of a plan.
func (o Offering) CanBind(p Plan) bool {
	if p.Bindable != nil {
		return *p.Bindable
	}
	return o.Bindable
}

// CanUpdate reports whether services of a plan may get another one.
func (o Offering) CanUpdate(p Plan) bool {
	if p.PlanUpdateable != nil {
		return *p.PlanUpdateable
	}
	return o.PlanUpdateable
}

// MustPlan returns a plan of an offering by its name.
func (o Offering) MustPlan(name string) (Plan, error) {
	names := make([]string, 0, len(o.Plans))
	for _, p := range o.Plans {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if name == "" {
		return Plan{}, Errorf(Invalid, "%s needs a plan: %s", o.Name, strings.Join(names, ", ")).WithHint("for example --plan %s", names[0])
	}
	return Plan{}, Errorf(NotFound, "%s has no plan %q, only %s", o.Name, name, strings.Join(names, ", "))
}

// Brokers yields all brokers by name.
func (s *State) Brokers() iter.Seq[*Broker] { return all[*Broker](s, "brokers/") }

// MustBroker returns a broker, or an error that a person can use.
func (s *State) MustBroker(name string) (*Broker, error) {
	b, ok := get[*Broker](s, Key("brokers/"+name))
	if !ok {
		return nil, Errorf(NotFound, "no service broker %q", name).WithCommand("micro service broker list")
	}
	return b, nil
}

// MustOffering returns what a broker offers under a name.
func (b *Broker) MustOffering(name string) (Offering, error) {
	i := slices.IndexFunc(b.Catalog, func(o Offering) bool { return o.Name == name })
	if i < 0 {
		return Offering{}, Errorf(NotFound, "broker %s does not offer %q", b.Name, name).WithCommand("micro service broker show %s", b.Name)
	}
	return b.Catalog[i], nil
}

// CheckBroker reports all that is wrong with what somebody says of a broker.
func (b *Broker) CheckBroker() error {
	u, err := url.Parse(b.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return Join(checkLabel("broker", b.Name), Errorf(Invalid, "the URL of the broker is not one of a server").WithHint("for example https://broker.example.com"))
	}
	if u.User != nil { // it would be shown
		err = Errorf(Invalid, "the URL of the broker has a user name").WithHint("use --username, and give the password on standard input")
	}
	return Join(checkLabel("broker", b.Name), err)
}

// AddBroker returns the changes that add a broker.
func (s *State) AddBroker(b Broker, at Stamp) ([]Change, error) {
	if err := b.CheckBroker(); err != nil {
		return nil, err
	}
	if _, err := s.MustBroker(b.Name); err == nil {
		return nil, Errorf(Conflict, "broker %s exists already", b.Name).WithCommand("micro service broker show %s", b.Name)
	}
	b.Created, b.By, b.Fetched = at.At, at.By, at.At
	return []Change{Put(&b)}, nil
}

// RefreshBroker returns the changes after which a broker has another catalog.
func (s *State) RefreshBroker(name string, catalog []Offering, at time.Time) ([]Change, error) {
	b, err := s.MustBroker(name)
	if err != nil {
		return nil, err
	}
	next := *b
	next.Catalog, next.Fetched = catalog, at
	return []Change{Put(&next)}, nil
}

// RemoveBroker returns the changes that forget a broker, which no service is of.
func (s *State) RemoveBroker(name string) ([]Change, error) {
	b, err := s.MustBroker(name)
	if err != nil {
		return nil, err
	}
	for app := range s.Services("") {
		if app.Service.Brokered != nil && app.Service.Brokered.Broker == name {
			return nil, Errorf(Conflict, "service %s is of broker %s", app.AppRef, name).WithCommand("micro service delete %s --now", app.AppRef)
		}
	}
	return []Change{Delete(b)}, nil
}

// Brokered is what is known of a service that a broker provides, and what is being done about it there.
type Brokered struct {
	Broker    string `json:"broker"`
	Instance  string `json:"instance"` // its ID at the broker
	ServiceID string `json:"service_id"`
	PlanID    string `json:"plan_id"`
	// Parameters are those of the provisioning.
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Unbindable bool            `json:"unbindable,omitempty"`
	// Tags are those of the offering, by which apps find what they need in VCAP_SERVICES.
	Tags []string `json:"tags,omitempty"`
	// Made says that the broker has made the service.
	Made bool `json:"made,omitempty"`
	// Unusable says that a failed update has broken it.
	Unusable bool `json:"unusable,omitempty"`
	// Dashboard is the URL of a page for people.
	Dashboard string `json:"dashboard,omitempty"`
	// Maintenance is the version that the service was made with, or was upgraded to; "" if the broker has none.
	Maintenance string `json:"maintenance,omitempty"`
	// Task is what is being done at the broker, nil for nothing.
	Task *BrokerTask `json:"task,omitempty"`
	// Failure is why the last task failed, or has not succeeded yet.
	Failure string `json:"failure,omitempty"`
}

// BrokerTask is something that a broker is asked to do.
type BrokerTask struct {
	Do      BrokerVerb `json:"do"`
	By      string     `json:"by,omitempty"` // who wants it, "" for nobody
	Started time.Time  `json:"started"`
	BrokerRequest
	// Maintenance is the version to make the service with, or to upgrade to; "" asks for none.
	Maintenance string `json:"maintenance,omitempty"`
	// Refreshed says that the catalog was fetched again, because the broker has another version of maintenance.
	Refreshed bool `json:"refreshed,omitempty"`
	// Plan, PlanID and Parameters are those to update to.
	Plan       string          `json:"plan,omitempty"`
	PlanID     string          `json:"plan_id,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// BrokerRequest is how far a request to a broker has got. It is written down before and after the request is sent, so that
// another leader can go on.
type BrokerRequest struct {
	// Sent says that the broker may have got the request.
	Sent bool `json:"sent,omitempty"`
	// Accepted says that the broker works on it, since Began. Operation is the broker's name for that.
	Accepted  bool      `json:"accepted,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Began     time.Time `json:"began,omitzero"`
}

// BrokerVerb is what a broker is asked to do about a service.
type BrokerVerb string

// The verbs. BrokerClean deletes what a failed provisioning may have left.
const (
	BrokerProvision   BrokerVerb = "provision"
	BrokerUpdate      BrokerVerb = "update"
	BrokerDeprovision BrokerVerb = "deprovision"
	BrokerClean       BrokerVerb = "clean"
)

// BrokerBinding is what is known of an account at a broker's service.
type BrokerBinding struct {
	ID string `json:"id"` // the binding's at the broker
	BrokerRequest
	// SyslogDrain is a URL that the broker wants logs at.
	SyslogDrain string `json:"syslog_drain,omitempty"`
	// Expires is when the broker ends the account, zero for never.
	Expires time.Time `json:"expires,omitzero"`
}
