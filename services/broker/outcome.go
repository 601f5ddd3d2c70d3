package broker

import "net/http"

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	// Done: the broker has carried it out.
	Done Outcome = "done"
	// Accepted: the broker works on it, and LastOperation says how far it is.
	Accepted Outcome = "accepted"
	// Unsent: the broker was not reached, so that nothing can have changed.
	Unsent Outcome = "unsent"
	// Busy: nothing has changed, because the broker works on something else of the same instance. The request may be sent
	// again later.
	Busy Outcome = "busy"
	// Taken: the broker has such an instance or binding already, with other attributes. Some brokers say so of a request that
	// is sent again.
	Taken Outcome = "taken"
	// Outdated: nothing has changed, because the catalog has another version of maintenance than the request.
	Outdated Outcome = "outdated"
	// Rejected: nothing has changed.
	Rejected Outcome = "rejected"
	// Failed: it failed, and nothing is to be cleaned up.
	Failed Outcome = "failed"
	// Orphaned: it failed, and the broker may have made something that nobody knows: it must be deleted until the broker says
	// that it has gone.
	Orphaned Outcome = "orphaned"
)

// Verb is the kind of a request.
type Verb string

// The verbs.
const (
	Provision   Verb = "provision"
	Update      Verb = "update"
	Deprovision Verb = "deprovision"
	Bind        Verb = "bind"
	Unbind      Verb = "unbind"
)

// makes reports whether the verb makes something, and so may leave an orphan.
func (v Verb) makes() bool { return v == Provision || v == Bind }

// deletes reports whether the verb deletes something.
func (v Verb) deletes() bool { return v == Deprovision || v == Unbind }

// errorCode is the field "error" of an answer.
type errorCode string

const (
	concurrencyError    errorCode = "ConcurrencyError"
	maintenanceConflict errorCode = "MaintenanceInfoConflict"
)

// outcomeOf is the table of the specification under "Orphan Mitigation". malformed says that the body of a success cannot be
// read.
func outcomeOf(v Verb, status int, malformed bool, code errorCode) Outcome {
	orphan := func() Outcome { // of a verb that may have left something behind
		if v == Update {
			return Failed
		}
		return Orphaned
	}
	switch {
	case status == http.StatusGone && v.deletes():
		return Done
	case status == http.StatusOK && malformed:
		return Failed
	case status == http.StatusOK:
		return Done
	case status == http.StatusCreated && malformed && v.makes(), status == http.StatusAccepted && malformed && v.makes():
		return Orphaned
	case (status == http.StatusCreated || status == http.StatusAccepted) && malformed:
		return Failed
	case status == http.StatusCreated && v.makes():
		return Done
	case status == http.StatusAccepted:
		return Accepted
	case status >= 200 && status < 300:
		return orphan()
	case status == http.StatusUnprocessableEntity && code == concurrencyError:
		return Busy
	case status == http.StatusUnprocessableEntity && code == maintenanceConflict && (v == Provision || v == Update):
		return Outdated
	case status == http.StatusConflict && v.makes():
		return Taken
	case status >= 400 && status < 500:
		return Rejected
	case status >= 500:
		return orphan()
	}
	return Rejected // 1xx and 3xx: the broker has not carried it out
}

// outcomeOfTimeout is that of a request that got no answer, or only a part of one.
func outcomeOfTimeout(v Verb) Outcome {
	if v.makes() {
		return Orphaned
	}
	return Failed
}
