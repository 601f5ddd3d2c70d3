package hosttrust

import (
	"context"
	"errors"
	"io/fs"

	"github.com/protoduction/micro/cloud"
)

// State says whether a store trusts an authority.
type State string

// The states.
const (
	Trusted State = "trusted"
	Missing State = "missing"
	// Unable is a store that cannot be changed or looked at: the program for it is not there.
	Unable State = "unable"
)

// store is one place where programs look for authorities.
type store interface {
	// String names it for a person, with who looks there.
	String() string
	// need is the program that changes it and the package that has the program, "" where it is there.
	need() (program, debian string)
	// names returns the names of the authorities of ours that it has.
	names(ctx context.Context) ([]string, error)
	add(ctx context.Context, a *Authority) error
	remove(ctx context.Context, name string) error
}

// Report is what became of a store.
type Report struct {
	Store   string
	State   State
	Text    string // why it is unable
	Hint    string
	Changed bool // by Install or Uninstall
}

// stores returns the stores of the machine. Java's come last: some follow the system's.
func (h *Host) stores() []store {
	var all []store
	if s, ok := h.systemStore(); ok {
		all = append(all, s)
	}
	for _, s := range h.nssStores() {
		all = append(all, s)
	}
	for _, s := range h.javaStores() {
		all = append(all, s)
	}
	return all
}

// Status looks at all stores.
func (h *Host) Status(ctx context.Context, a *Authority) []Report {
	return h.each(func(s store) (bool, error) {
		names, err := s.names(ctx)
		if err == nil && !contains(names, a.name()) {
			return false, errMissing
		}
		return false, err
	})
}

var errMissing = errors.New("it does not trust the authority")

// Install makes all stores trust an authority. Those that do already are not changed.
func (h *Host) Install(ctx context.Context, a *Authority) []Report {
	return h.each(func(s store) (changed bool, err error) {
		names, err := s.names(ctx)
		if err != nil || contains(names, a.name()) {
			return false, err
		}
		return true, s.add(ctx, a)
	})
}

// Uninstall removes the authorities of a domain from all stores, or those of all domains for "".
func (h *Host) Uninstall(ctx context.Context, domain cloud.Domain) []Report {
	reports := h.each(func(s store) (changed bool, err error) {
		names, err := s.names(ctx)
		for _, name := range names {
			if domain != "" && !isNameOf(name, domain) {
				continue
			}
			changed = true
			err = errors.Join(err, s.remove(ctx, name))
		}
		if err == nil {
			err = errMissing
		}
		return changed, err
	})
	return reports
}

// isNameOf reports whether a name belongs to an authority of the domain.
func isNameOf(name string, domain cloud.Domain) bool {
	return len(name) > 17 && name[:len(name)-17] == prefix+string(domain)
}

// each does something to every store for which there is a program.
func (h *Host) each(do func(store) (changed bool, err error)) []Report {
	reports := []Report{}
	for _, s := range h.stores() {
		r := Report{Store: s.String(), State: Trusted}
		if program, debian := s.need(); program != "" {
			r.State, r.Text, r.Hint = Unable, program+" is not installed", "on Debian: apt-get install "+debian
			reports = append(reports, r)
			continue
		}
		changed, err := do(s)
		switch {
		case err == nil:
			r.Changed = changed
		case errors.Is(err, errMissing):
			r.State, r.Changed = Missing, changed
		default:
			r.State, r.Text = Unable, err.Error()
			if errors.Is(err, fs.ErrPermission) {
				r.Hint = "run it as root: sudo micro trust …"
			}
		}
		reports = append(reports, r)
	}
	return reports
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
