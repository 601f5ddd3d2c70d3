package oidc

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestGroups(t *testing.T) {
	many := make([]any, 2*maxGroups)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for claim, want := range map[string]string{
		`["qa","dev team"]`: "[oidc:qa oidc:dev team]", `"qa"`: "[oidc:qa]", `null`: "[]", `7`: "[]", `{"a":1}`: "[]",
		`["",7,null,["x"],"a\nb","ok"]`: "[oidc:ok]", `["` + strings.Repeat("x", 300) + `"]`: "[]", `["user:root"]`: "[oidc:user:root]",
	} {
		var v any
		if err := json.Unmarshal([]byte(claim), &v); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(groupsOf(v)); got != want {
			t.Errorf("%s: %s, want %s", claim, got, want)
		}
	}
	if n := len(groupsOf(many)); n != maxGroups {
		t.Errorf("%d groups count", n)
	}
	if userName(" Anna ") != cloud.UserName("anna") {
		t.Error("case counts")
	}
}
