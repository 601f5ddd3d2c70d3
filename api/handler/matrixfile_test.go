package handler

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// cell is a request for an operation, with the roles in its group that may make it. GROUP stands for the group.
type cell struct {
	Operation string       `json:"operation"`
	Staged    bool         `json:"staged"`
	Method    string       `json:"method"`
	Path      string       `json:"path"`
	Body      string       `json:"body,omitempty"`
	Roles     []cloud.Role `json:"roles"`
	Scopes    []string     `json:"scopes"`          // of tokens that are for it
	Cloud     bool         `json:"cloud,omitempty"` // it is about no group
	Own       bool         `json:"own,omitempty"`   // it is about the caller alone, or open to who has not logged in
}

// The matrix is tried against a node, too: testdata/matrix.json has it for the script.
func TestMatrixFile(t *testing.T) {
	var file bytes.Buffer
	enc := json.NewEncoder(&file)
	for i, staged := range []bool{true, false} {
		requests := calls("GROUP", staged)
		for _, op := range slices.Sorted(maps.Keys(matrix)) {
			c := cell{Operation: op, Staged: staged, Method: requests[op].method, Path: requests[op].path, Body: requests[op].body, Roles: []cloud.Role{}, Scopes: []string{}, Cloud: nowhere(op), Own: policy[op].in == ofOwn || policy[op].in == byAnyone}
			for _, role := range append([]cloud.Role{cloud.RoleNone}, cloud.Roles()...) {
				if least := matrix[op][i]; least == "+" || least == "*" && role != cloud.RoleNone || least != "-" && least != "*" && role.Allows(least) {
					c.Roles = append(c.Roles, role)
				}
			}
			for _, scope := range slices.Sorted(maps.Keys(scopeOperations)) {
				if policy[op].needs == cloud.MayRead || slices.Contains(ownOperations, op) || slices.Contains(scopeOperations[scope], op) {
					c.Scopes = append(c.Scopes, scope)
				}
			}
			if err := enc.Encode(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	const name = "testdata/matrix.json"
	if *update {
		if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(name); err != nil || !bytes.Equal(want, file.Bytes()) {
		t.Errorf("%s is not the matrix: go test ./api/handler -run TestMatrixFile -update (%v)", name, err)
	}
}
