package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// matrixCell is a line of api/handler/testdata/matrix.json.
type matrixCell struct {
	Operation, Method, Path, Body string
	Staged, Cloud, Own            bool
	Roles, Scopes                 []string
}

// matrix URL PASSWORD-FILE tries every operation of the API: as each user whose name is a role, or none, in group own, and
// with each token in a file SCOPE.token; on staged and on public things of groups own and other. What is to be refused
// must be, and what reads must work where it is allowed; nothing else is sent. Lines of the file ids are LINK_own=ID and so on.
func matrixCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: matrix URL PASSWORD-FILE")
	}
	m := matrixClient{ts: ts, url: args[0], client: http.Client{Transport: insecureTransport(), Timeout: patience}}
	m.client.Transport.(*http.Transport).DisableKeepAlives = false
	defer m.client.CloseIdleConnections()
	m.ids = map[string]string{}
	for line := range strings.Lines(ts.ReadFile("ids")) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), "=")
		m.ids[name] = id
	}
	cells := m.cells()
	for _, role := range []string{"none", "auditor", "tester", "developer", "releaser", "admin"} {
		token := m.login(role, strings.TrimSpace(ts.ReadFile(args[1])))
		name := strings.TrimPrefix(role, "none")
		for _, c := range cells {
			if c.Own {
				continue // it would end this log-in
			}
			for _, group := range []string{"own", "other"} {
				m.try("user "+role, token, group, c, slices.Contains(c.Roles, name) && (group == "own" || c.Cloud))
			}
		}
	}
	files, err := filepath.Glob(ts.MkAbs("*.token"))
	ts.Check(err)
	for _, file := range files {
		scope := strings.TrimSuffix(filepath.Base(file), ".token")
		for _, c := range cells {
			if !c.Own {
				m.try("a token of scope "+scope, strings.TrimSpace(ts.ReadFile(file)), "other", c, slices.Contains(c.Scopes, scope))
			}
		}
	}
	if len(files) != 6 || m.refused < 1500 || m.read < 300 {
		ts.Fatalf("%d scopes: %d requests were refused, and %d read", len(files), m.refused, m.read)
	}
	ts.Logf("%d requests were refused, and %d read", m.refused, m.read)
}

type matrixClient struct {
	ts            *testscript.TestScript
	url           string
	client        http.Client
	ids           map[string]string
	refused, read int
}

func (m *matrixClient) cells() (cells []matrixCell) {
	b, err := os.ReadFile(filepath.Join(m.ts.Getenv("SOURCE"), "api/handler/testdata/matrix.json"))
	m.ts.Check(err)
	for dec := json.NewDecoder(bytes.NewReader(b)); dec.More(); {
		var c matrixCell
		m.ts.Check(dec.Decode(&c))
		cells = append(cells, c)
	}
	return cells
}

func (m *matrixClient) login(user, password string) (token string) {
	body, err := json.Marshal(map[string]string{"user": user, "password": password})
	m.ts.Check(err)
	status, answer := m.ask("", "POST", "/v1/login", string(body))
	var in struct{ Token string }
	m.ts.Check(json.Unmarshal(answer, &in))
	if status != http.StatusOK || in.Token == "" {
		m.ts.Fatalf("%s can't log in: %d %s", user, status, answer)
	}
	return in.Token
}

// try sends a request that is to be refused, or one that only reads.
func (m *matrixClient) try(who, token, group string, c matrixCell, allowed bool) {
	if allowed && c.Method != http.MethodGet {
		return
	}
	fill := strings.NewReplacer("link-GROUP", m.ids["LINK_"+group], "push-GROUP", m.ids["PUSH_"+group], "GROUP", group)
	status, answer := m.ask(token, c.Method, fill.Replace(c.Path), fill.Replace(c.Body))
	refused := status == http.StatusForbidden || status == http.StatusNotFound
	switch {
	case refused == allowed:
		m.ts.Fatalf("%s: %s %s (staged: %v) in group %s: %d %s", who, c.Operation, fill.Replace(c.Path), c.Staged, group, status, answer)
	case refused:
		m.refused++
	default:
		m.read++
	}
}

func (m *matrixClient) ask(token, method, path, body string) (status int, answer []byte) {
	r, err := http.NewRequest(method, m.url+path, strings.NewReader(body))
	m.ts.Check(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := m.client.Do(r)
	m.ts.Check(err)
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	m.ts.Check(err)
	return resp.StatusCode, answer
}
