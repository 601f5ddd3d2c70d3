package handler

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

const accessPage = "../../docs/access.md"

var policyTable = regexp.MustCompile(`(?s)<!-- policy -->\n.*?<!-- end -->`)

// docs/access.md has the table that requests are judged by.
func TestPageHasThePolicy(t *testing.T) {
	was, err := os.ReadFile(accessPage)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| operation | permission | asked for | role at least |\n|---|---|---|---|\n")
	for _, op := range slices.Sorted(maps.Keys(policy)) {
		r := policy[op]
		role := string(r.needs.LeastRole())
		switch {
		case r.in == byAnyone:
			role = "none"
		case r.in == anywhere:
			role = "any"
		case r.needs == cloud.MayOperate && r.in == inRelease:
			role += "; developer unless it is staged"
		case r.needs == cloud.MayDeploy && (r.in == inApp || r.in == inRelease), r.needs == cloud.MayRoute:
			role += "; releaser for what the public reaches"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", op, r.needs, r.in, role)
	}
	now := policyTable.ReplaceAll(was, []byte("<!-- policy -->\n"+table.String()+"<!-- end -->"))
	switch {
	case *update:
		if err := os.WriteFile(accessPage, now, 0o644); err != nil {
			t.Fatal(err)
		}
	case !bytes.Equal(was, now) || !policyTable.Match(was):
		t.Errorf("%s differs from the policy; write it anew with: go test ./api/handler -run Page -update", accessPage)
	}
}
