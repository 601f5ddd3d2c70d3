package certs

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TestCAA: an order that the domain's CAA records forbid is not begun, and says which record would let it. Records that
// can't be read forbid nothing, and the authority is asked all the same now and then.
func TestCAA(t *testing.T) {
	t.Parallel()
	staging, d, v := newDirectory(t), newDirectory(t), &fakeVault{}
	names := map[string]any{"caaIdentities": []string{"ca.example"}}
	staging.meta, d.meta = names, names
	var value string
	var unknown error
	var kinds []string
	d.validate = func(kind, _ string) bool { kinds = append(kinds, kind); return true }
	o := newOrderer(t, v, d, func(c *ACMEConfig) {
		c.Staging = staging.URL + "/directory"
		c.CAA = func(_ context.Context, h cloud.Host) (cloud.Host, []cloud.CAARecord, error) {
			if value == "" || unknown != nil {
				return "", nil, unknown
			}
			return "example.com", []cloud.CAARecord{{Tag: "issue", Value: value}}, nil
		}
	})
	const host = "www.example.com"
	f := func(record, want string) {
		t.Helper()
		value = record
		o.settle(t, host, 0, time.Time{})
		_, err := o.Order(t.Context(), host)
		ordered := len(d.taken())
		failed, _ := errors.AsType[*cloud.OrderFailure](err)
		switch {
		case want == "" && (err != nil || ordered != 1):
			t.Errorf("%s: %v, %d orders", record, err, ordered)
		case want != "" && (failed == nil || failed.Step != cloud.StepCAA || !failed.Unasked || ordered != 0 || !strings.Contains(failed.Reason+" "+failed.Hint, want)):
			t.Errorf("%s: %v, %d orders", record, err, ordered)
		}
	}
	f("", "")
	f("ca.example", "")
	f("other.example", "let only other.example issue certificates, and not ca.example set at the DNS provider of example.com: CAA 0 issue \"ca.example\"")
	f(";", "let nobody issue")
	f("ca.example; accounturi="+d.URL+"/account/1", "")
	f("ca.example; accounturi="+d.URL+"/account/2", "another account than this cloud's, which is "+d.URL+"/account/1")
	f("ca.example; validationmethods=dns-01", "by dns-01 alone, and this cloud cannot prove the name so change validationmethods in the CAA record of example.com, or micro domain add example.com")
	kinds = nil
	f("ca.example; validationmethods=tls-alpn-01", "")
	if !slices.Equal(kinds, []string{"tls-alpn-01"}) {
		t.Errorf("proved by %q", kinds)
	}
	unknown = errors.New("SERVFAIL")
	f("other.example", "")
	unknown = nil
	o.settle(t, host, askAnyway-1, time.Time{})
	if _, err := o.Order(t.Context(), host); err != nil {
		t.Errorf("after many failures: %v", err)
	}
	// An authority that does not say by which names it goes is asked.
	nameless := newOrderer(t, &fakeVault{}, newDirectory(t), func(c *ACMEConfig) { c.CAA = o.ACME.CAA })
	value = "other.example"
	if _, err := nameless.Order(t.Context(), host); err != nil {
		t.Errorf("of an authority without names: %v", err)
	}
	// The authority's own look has the last word.
	d.set(func(kind string, w http.ResponseWriter) bool {
		if kind == "finalize" {
			problemOf(w, 403, "caa", "CAA record for example.com prevents issuance")
			return true
		}
		return false
	})
	o.settle(t, host, 1, time.Time{})
	_, err := o.Order(t.Context(), host)
	if failed, ok := errors.AsType[*cloud.OrderFailure](err); !ok || failed.Step != cloud.StepCAA {
		t.Errorf("got %v", err)
	}
}
