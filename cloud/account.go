package cloud

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Account is the log-in of an app at a service. The releases that are bound to the service say which accounts there are to
// be; this object says what is known of one. The leader makes it before the programs of a release's instances start, and revokes it when
// no release needs it any more.
type Account struct {
	AppRef         // the service
	Client AppName `json:"client"` // the app that it is for, of the same group
	// N is the number of the release that was bound with the account first. Releases derived from that one share it.
	N       int       `json:"n"`
	Created time.Time `json:"created"`
	// Made says that the service knows the account.
	Made bool `json:"made,omitempty"`
	// Ending says that the account is being revoked, and must not be used any more.
	Ending      bool        `json:"ending,omitempty"`
	Credentials Credentials `json:"credentials"`
	// Broker is set of an account at a broker's service.
	Broker *BrokerBinding `json:"broker,omitempty"`
}

// Credentials are how a client reaches a service and logs in.
type Credentials struct {
	URL      string            `json:"url"`
	Host     string            `json:"host"`
	Port     int               `json:"port"`
	User     string            `json:"user,omitempty"`
	Password string            `json:"password,omitempty"`
	Database string            `json:"database,omitempty"`
	More     map[string]string `json:"more,omitempty"` // the kind's own, such as a vhost or a bucket
	// Raw are all credentials as a broker gave them.
	Raw map[string]json.RawMessage `json:"raw,omitempty"`
	// Variables are environment variables that apps expect beside the URL, as Service.Variables names them.
	Variables map[string]string `json:"variables,omitempty"`
}

// Key is "accounts/GROUP/SERVICE/APP/N", N with eight digits.
func (a *Account) Key() Key { return accountKey(a.AppRef, a.Client, a.N) }

func accountKey(service AppRef, client AppName, n int) Key {
	return Key(fmt.Sprintf("accounts/%s/%s/%s/%08d", service.Group, service.App, client, n))
}

// ClientRef is the app that the account is for.
func (a *Account) ClientRef() AppRef { return AppRef{a.Group, a.Client} }

func (a *Account) touch(t *touched) {
	t.placed[a.ClientRef()] = true
	t.placed[a.AppRef] = true
}

func (a *Account) indexes() []string { return []string{clientIndex(a.ClientRef())} }

func clientIndex(r AppRef) string { return "client/" + string(r.Group) + "/" + string(r.App) + "/" }

// AccountsAt yields the accounts of a service, by client and number.
func (s *State) AccountsAt(service AppRef) iter.Seq[*Account] {
	return all[*Account](s, "accounts/"+string(service.Group)+"/"+string(service.App)+"/")
}

// AccountsFor yields the accounts of an app at all services.
func (s *State) AccountsFor(client AppRef) iter.Seq[*Account] {
	return under[*Account](s.index, clientIndex(client))
}

// Account returns the account of a binding of an app.
func (s *State) Account(client AppRef, b Binding) (*Account, bool) {
	return get[*Account](s, accountKey(AppRef{client.Group, b.Service}, client.App, b.Account))
}

// Issued reports whether the credentials of all accounts of a release are known. The services may not know the accounts yet.
func (s *State) Issued(rel *Release) bool {
	for _, b := range rel.Spec.Bindings {
		a, ok := s.Account(rel.AppRef, b)
		if !ok || a.Ending || a.Broker != nil && !a.Made { // a broker chooses the credentials
			return false
		}
	}
	return true
}

// Unmet returns what a release's bindings wait for, "" for nothing: its programs may start.
func (s *State) Unmet(rel *Release) string {
	var waits []string
	for _, b := range rel.Spec.Bindings {
		if a, ok := s.Account(rel.AppRef, b); !ok || !a.Made || a.Ending {
			waits = append(waits, string(b.Service))
		}
	}
	if len(waits) == 0 {
		return ""
	}
	return "waits for its account at service " + strings.Join(waits, ", ")
}
