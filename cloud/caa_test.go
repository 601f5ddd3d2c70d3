package cloud

import (
	"fmt"
	"strings"
	"testing"
)

// TestCAA: who may issue by the CAA records of a domain (RFC 8659, section 4; RFC 8657).
func TestCAA(t *testing.T) {
	f := func(host Host, records, want string) {
		t.Helper()
		var all []CAARecord
		for line := range strings.SplitSeq(records, "\n") {
			var flags int
			var tag, value string
			if n, _ := fmt.Sscanf(line, "%d %s %q", &flags, &tag, &value); n == 3 {
				all = append(all, CAARecord{Critical: flags&128 != 0, Tag: tag, Value: value})
			}
		}
		p := Issuer{Names: []string{"ca.example", "old.ca.example"}, Account: "https://ca.example/account/7"}.Permits(all, host)
		got := fmt.Sprintf("%t %v", p.Issue, p.Methods)
		if !p.Issue {
			got = fmt.Sprintf("false, but %v", p.Others)
			if p.Unknown != "" {
				got = "false: critical " + p.Unknown
			}
			if p.Account {
				got += " and another account"
			}
		}
		if got != want {
			t.Errorf("%s with\n%s\ngot %s, want %s", host, records, got, want)
		}
	}
	f("www.example.com", "", "true []")
	f("www.example.com", `0 issue "ca.example"`, "true []")
	f("www.example.com", `0 ISSUE "CA.example."`, "true []")
	f("www.example.com", `0 issue " old.ca.example ; x=y "`, "true []")
	f("www.example.com", `0 issue "other.example"`, "false, but [other.example]")
	f("www.example.com", "0 issue \"other.example\"\n0 issue \"third.example\"", "false, but [other.example third.example]")
	f("www.example.com", "0 issue \"other.example\"\n0 issue \"ca.example\"", "true []")
	f("www.example.com", `0 issue ";"`, "false, but []")
	f("www.example.com", `0 issue ""`, "false, but []")
	f("www.example.com", `0 iodef "mailto:a@example.com"`, "true []")
	f("www.example.com", `0 issuewild "other.example"`, "true []")
	f("*.example.com", `0 issuewild "other.example"`, "false, but [other.example]")
	f("*.example.com", "0 issue \"ca.example\"\n0 issuewild \";\"", "false, but []")
	f("*.example.com", "0 issue \";\"\n0 issuewild \"ca.example\"", "true []")
	f("*.example.com", `0 issue "ca.example"`, "true []")
	f("www.example.com", `128 issue "ca.example"`, "true []")
	f("www.example.com", "0 issue \"ca.example\"\n128 tbs \"x\"", "false: critical tbs")
	f("www.example.com", "0 issue \"ca.example\"\n0 tbs \"x\"", "true []")
	f("www.example.com", `0 issue "ca.example; accounturi=https://ca.example/account/7"`, "true []")
	f("www.example.com", `0 issue "ca.example; accounturi=https://ca.example/account/8"`, "false, but [] and another account")
	f("www.example.com", `0 issue "ca.example;validationmethods=dns-01, HTTP-01"`, "true [dns-01 http-01]")
	f("www.example.com", "0 issue \"ca.example;validationmethods=dns-01\"\n0 issue \"ca.example\"", "true []")
	f("www.example.com", "0 issue \"ca.example;validationmethods=dns-01; accounturi=nobody\"\n0 issue \"ca.example; validationmethods=http-01\"", "true [http-01]")
}
