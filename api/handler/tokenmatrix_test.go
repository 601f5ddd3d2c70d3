package handler

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/access"
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// scopeOperations has, for each scope, the operations beside reading that it is for. Nothing else is allowed.
var scopeOperations = map[string][]string{
	"read":    {},
	"operate": {"logs", "scale", "restart", "exec", "run", "review"},
	"push":    {"push", "list-files", "upload", "show-push", "push-events", "cancel-push"},
	"deploy": {
		"create-app", "set-env", "promote", "rollback", "stop", "start", "delete-app", "delete-release", "lock", "unlock",
		"create-service", "delete-service", "update-service", "undelete-service", "bind", "unbind", "rebind", "rotate",
		"push", "list-files", "upload", "show-push", "push-events", "cancel-push",
		"backup-service", "restore-service", "clone-service", "drill-service", "delete-backup", "schedule-backups", "end-schedule", "upgrade-service",
		"backup-volume", "restore-volume", "delete-volume-backup", "move-volumes",
	},
	"route":     {"map", "unmap", "traffic", "swap", "hold", "end-hold", "limits", "crossfade", "crossfade-pause", "crossfade-resume", "crossfade-abort", "pass"},
	"crossfade": {"crossfade", "crossfade-pause", "crossfade-resume", "crossfade-abort"},
}

// askToken sends a request with a token, as if from another machine.
func askToken(t *testing.T, h *Handler, token string, c call) (status int, p api.Problem) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &p) // an answer that is no problem has none
	return w.Code, p
}

// TestTokenMatrix tries every operation with a token of each scope, which is admin's of the whole cloud otherwise, and
// with one that is limited to a group, on the own group's things and another's.
func TestTokenMatrix(t *testing.T) {
	s := matrixState(t)
	admin := cloud.Actor{Name: "root", Role: cloud.RoleAdmin}
	at := cloud.Stamp{At: time.Now(), By: "root"}
	tokens := map[string]string{}
	create := func(name string, limits cloud.TokenLimits) {
		t.Helper()
		text, id, hash := access.NewToken()
		changes, err := s.CreateToken(cloud.Token{ID: id, Hash: hash, Expires: at.At.Add(time.Hour), TokenLimits: limits}, admin, at)
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
		tokens[name] = text
	}
	for scope := range scopeOperations {
		create(scope, cloud.TokenLimits{Role: cloud.RoleAdmin, Scopes: []string{scope}})
		create(scope+" in own", cloud.TokenLimits{Role: cloud.RoleAdmin, Scopes: []string{scope}, Groups: []cloud.GroupName{"own"}})
	}
	if !slices.Equal(slices.Sorted(maps.Keys(scopeOperations)), slices.Sorted(maps.Keys(tokenScopes))) {
		t.Error("the table of the test has other scopes")
	}
	f := frozen{newFakes(t), s}
	f.lines = func(func(api.LogLine, error) bool) {}
	c := f.fakes.config(nil)
	c.Store, c.Views, c.Pushes, c.Transfers, c.Rollouts, c.BuildLogs = f, f, f, f, f, f
	callers := access.New(f, nil, time.Now)
	c.Callers, c.Services = callers, frozenServices{fakeServices{f.fakes}, f.state}
	c.Backups, c.VolumeWorks = fakeBackups{}, fakeVolumeWorks{}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range tokens {
		scope, limited := strings.CutSuffix(name, " in own")
		for _, group := range []string{"own", "other"} {
			for op, request := range calls(group, true) {
				want := policy[op].needs == cloud.MayRead || slices.Contains(ownOperations, op) || slices.Contains(scopeOperations[scope], op)
				if policy[op].in == byAnyone {
					continue
				}
				if limited && (policy[op].in == inCloud || group == "other" && !nowhere(op)) {
					want = false
				}
				status, p := askToken(t, h, token, request)
				refused := status == http.StatusForbidden || status == http.StatusNotFound || status == http.StatusUnauthorized
				if refused == want {
					t.Errorf("a token of %s: %s of group %s: %d %s", name, op, group, status, p.Detail)
				}
			}
		}
	}
	for _, token := range []string{"micro_", tokens["read"] + "x", strings.ToUpper(tokens["read"])} {
		if status, p := askToken(t, h, token, call{"GET", "/v1/whoami", ""}); status != http.StatusUnauthorized || p.Command == nil {
			t.Errorf("%q: %d %+v", token, status, p)
		}
	}
}

// FuzzRequest sends whatever to any operation: it is answered with a status of the table, and never with a fault of ours.
func FuzzRequest(f *testing.F) {
	for _, c := range calls("own", true) {
		f.Add(c.method, c.path, c.body)
	}
	f.Add("POST", "/v1/groups/own/apps/shop/scale", `{"processes":{"web":{"instances":1e999}}}`)
	f.Add("GET", "/v1/groups/%00/apps/..%2f", "")
	var h *Handler
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if h == nil {
			h, _ = newMatrix(t)
		}
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "follow") || strings.ContainsAny(path, " \r\n\x00") || !validMethod(method) {
			return
		}
		r, err := http.NewRequestWithContext(context.Background(), method, "http://node"+path, strings.NewReader(body))
		if err != nil || strings.HasSuffix(r.URL.Path, "/down") {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: 0}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s %q: %s", method, path, body, w.Body)
		}
	})
}

func validMethod(method string) bool {
	return slices.Contains([]string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"}, method)
}
