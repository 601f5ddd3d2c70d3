package broker

import (
	"net/http"
	"testing"
)

// The table under "Orphan Mitigation" of the specification, line by line, and what is said of single verbs elsewhere.
func TestOutcomes(t *testing.T) {
	f := func(status int, malformed bool, code errorCode, want map[Verb]Outcome) {
		t.Helper()
		for v, outcome := range want {
			if got := outcomeOf(v, status, malformed, code); got != outcome {
				t.Errorf("%s answered %d (malformed: %t, %s): %s, want %s", v, status, malformed, code, got, outcome)
			}
		}
	}
	all := func(o Outcome) map[Verb]Outcome {
		return map[Verb]Outcome{Provision: o, Update: o, Deprovision: o, Bind: o, Unbind: o}
	}
	orphans := map[Verb]Outcome{Provision: Orphaned, Update: Failed, Deprovision: Orphaned, Bind: Orphaned, Unbind: Orphaned}
	f(200, false, "", all(Done))
	f(200, true, "", all(Failed))
	f(201, false, "", map[Verb]Outcome{Provision: Done, Bind: Done})
	f(201, true, "", map[Verb]Outcome{Provision: Orphaned, Bind: Orphaned})
	f(202, false, "", all(Accepted))
	f(202, true, "", map[Verb]Outcome{Provision: Orphaned, Bind: Orphaned, Update: Failed, Deprovision: Failed, Unbind: Failed})
	f(203, false, "", orphans)
	f(207, false, "", orphans)
	f(408, false, "", all(Rejected))
	f(400, false, "", all(Rejected))
	f(401, false, "", all(Rejected))
	f(409, false, "", map[Verb]Outcome{Provision: Taken, Bind: Taken, Update: Rejected, Deprovision: Rejected, Unbind: Rejected})
	f(410, false, "", map[Verb]Outcome{Deprovision: Done, Unbind: Done, Provision: Rejected, Bind: Rejected, Update: Rejected})
	f(412, false, "", all(Rejected))
	f(422, false, "AsyncRequired", all(Rejected))
	f(422, false, "RequiresApp", all(Rejected))
	f(422, false, "MaintenanceInfoConflict", map[Verb]Outcome{Provision: Outdated, Update: Outdated, Deprovision: Rejected, Bind: Rejected, Unbind: Rejected})
	f(422, false, concurrencyError, all(Busy))
	f(500, false, "", orphans)
	f(503, false, concurrencyError, orphans)
	f(302, false, "", all(Rejected))
	for v, want := range map[Verb]Outcome{Provision: Orphaned, Bind: Orphaned, Update: Failed, Deprovision: Failed, Unbind: Failed} {
		if got := outcomeOfTimeout(v); got != want {
			t.Errorf("a time-out of %s: %s, want %s", v, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	f := func(value, date, want string) {
		t.Helper()
		if got := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}).String(); got != want {
			t.Errorf("Retry-After: %s is %s, want %s", value, got, want)
		}
	}
	f("7", "", "7s")
	f("-7", "", "0s")
	f("99999999999", "", "24h0m0s")
	f("soon", "", "0s")
	f("Sat, 28 Nov 2026 21:00:10 GMT", "Sat, 28 Nov 2026 21:00:00 GMT", "10s")
	f("Sat, 28 Nov 2026 20:00:10 GMT", "Sat, 28 Nov 2026 21:00:00 GMT", "0s")
}

// What a broker offers is read as a whole or not at all.
func TestCatalog(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		_, err := parseCatalog([]byte(body))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	f(`{"services":[]}`, "")
	f(`{}`, "the catalog has no services")
	f(`{"services":[{"id":"1","name":"sql","plans":[{"id":"2","name":"small"}]}]}`, "")
	f(`{"services":[{"id":"1","name":"sql","plans":[]},{"name":"x"}]}`, "service \"sql\" has no plan\na service has no id or no name")
	f(`{"services":[{"id":"1","name":"sql","plans":[{"id":"2","name":"small"},{"id":"2","name":"large"}]}]}`, `two plans of service "sql" have the name "large" or the id "2"`)
}
