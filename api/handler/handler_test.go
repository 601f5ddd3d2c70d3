package handler

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/goleak"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var update = flag.Bool("update", false, "write testdata/openapi.json anew")

// TestMain is also the caller of another user's, whom TestUnmappedUserIsRefused starts.
func TestMain(m *testing.M) {
	if sock := os.Getenv("TEST_CALL"); sock != "" {
		c, err := api.New("unix://" + sock)
		if err == nil {
			_, err = c.Version(context.Background())
		}
		fmt.Println(cloud.CodeOf(err), err, cloud.HintOf(err))
		return
	}
	goleak.VerifyTestMain(m)
}

// raw sends a request as it stands and returns the answer.
func (s *served) raw(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("unix", s.sock)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// Every fault of a request itself is a problem document, with the status that its code stands for.
func TestProblems(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	for _, c := range []struct {
		request string
		code    cloud.Code
		words   string
	}{
		{"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", cloud.NotFound, "GET /v2"},
		{"PATCH /v1/node HTTP/1.1\r\nHost: x\r\n\r\n", cloud.NotFound, "PATCH /v1/node"},
		{"GET /v1/groups/default/apps/none HTTP/1.1\r\nHost: x\r\n\r\n", cloud.NotFound, "none"},
		{"GET /v1/groups/default/apps/%1b%5b2J HTTP/1.1\r\nHost: x\r\n\r\n", cloud.NotFound, `\x1b`},
		{"GET /v1/groups/default/apps?limit=0 HTTP/1.1\r\nHost: x\r\n\r\n", cloud.Invalid, "query.limit"},
		{"GET /v1/groups/default/apps?color=red HTTP/1.1\r\nHost: x\r\n\r\n", cloud.Invalid, "color"},
		{"GET /v1/groups/default/apps/shop/releases/x HTTP/1.1\r\nHost: x\r\n\r\n", cloud.Invalid, `"x" is not a release`},
		{post("/v1/groups/default/apps/shop/scale", `{"processes":`), cloud.Invalid, "JSON"},
		{post("/v1/groups/default/apps/shop/scale", `{"processes":{"web":{"instances":"two","nmemory":1}}}`), cloud.Invalid, "body.processes.web"},
		{post("/v1/groups/default/apps/shop/scale", `{}`), cloud.Invalid, "processes"},
		{post("/v1/groups/default/apps/shop/promote", `{}`), cloud.Invalid, "which release"},
		{post("/v1/groups/default/apps/shop/exec", `{"args":["ls"]}`), cloud.Invalid, "Upgrade"},
		{post("/v1/groups/default/apps/shop/scale", ""), cloud.Invalid, "body is required"},
		{strings.Replace(post("/v1/groups/default/apps/shop/scale", `{}`), "application/json", "text/plain", 1), cloud.Invalid, "content type"},
		{post("/v1/groups/default/apps/shop/scale", strings.Repeat(" ", api.MaxBody+1)), cloud.Invalid, "request body is too large"},
		{"GET /v1/groups/default/apps/shop/logs?stream=nonsense HTTP/1.1\r\nHost: x\r\n\r\n", cloud.Invalid, "nonsense"},
	} {
		line, _, _ := strings.Cut(c.request, "\r\n")
		resp, body := s.raw(t, c.request)
		var p api.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != api.ProblemType {
			t.Errorf("%s: %s %q", line, resp.Header.Get("Content-Type"), body)
			continue
		}
		if resp.StatusCode != c.code.Status() || p.Status != resp.StatusCode || p.Code != c.code || !strings.Contains(p.Detail, c.words) || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %+v", line, resp.StatusCode, p)
		}
		if strings.Contains(body, "\x1b") || strings.Contains(p.Detail, "\x1b") {
			t.Errorf("%s: a control byte in %q", line, p.Detail)
		}
	}
}

// Whatever status huma has for a fault, the answer has one of the table, and the code that goes with it.
func TestEveryStatusIsOfTheTable(t *testing.T) {
	mux := http.NewServeMux()
	a := humago.New(mux, description("test"))
	huma.Register(a, huma.Operation{OperationID: "fail", Method: "GET", Path: "/{status}", Middlewares: huma.Middlewares{
		func(hc huma.Context, next func(huma.Context)) { next(tabled{hc}) },
	}}, func(_ context.Context, in *struct {
		Status int `path:"status"`
	}) (*struct{}, error) {
		return nil, huma.NewError(in.Status, "it failed")
	})
	for status := 400; status < 600; status++ {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("/%d", status), nil))
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Detail != "it failed" || p.Status != w.Code || p.Code.Status() != w.Code || !slices.Contains(cloud.Codes(), p.Code) {
			t.Errorf("%d: %d %+v, %v", status, w.Code, p, err)
		}
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	s := newServed(t)
	s.f.panics = true
	_, err := s.Apps(t.Context(), "")
	wantCode(t, err, cloud.Internal, "inside micro", "request")
	s.f.panics = false
	if _, err := s.Apps(t.Context(), ""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestNotReady(t *testing.T) {
	f := newFakes(t)
	f.info.Ready, f.info.Waiting = false, "adopting 3 instances"
	s := serveFakes(t, f, t.TempDir())
	_, err := s.Apps(t.Context(), "")
	wantCode(t, err, cloud.Unavailable, "adopting 3 instances")
	if err := s.Ready(t.Context()); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("ready: %v", err)
	}
	if _, err := s.Version(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Doctor(t.Context()); err != nil {
		t.Error(err)
	}
}

// A user whom neither root's uid nor the group makes an admin is told so.
func TestUnmappedUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("takes root, to be another user")
	}
	exe, err := os.MkdirTemp("", "mh")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(exe)
	if err := os.Chmod(exe, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(exe, "t")
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	call := func(s *served, gids ...uint32) string {
		cmd := exec.Command(bin)
		cmd.Dir, cmd.Env = "/", []string{"TEST_CALL=" + s.sock}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: gids}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	s := newServed(t)
	if out := call(s); !strings.HasPrefix(out, "denied user nobody has no role here sudo usermod") {
		t.Errorf("nobody got %q", out)
	}
	f := newFakes(t)
	f.group = "daemon" // gid 1 everywhere
	s = serveFakes(t, f, t.TempDir())
	if out := call(s, 7, 8, 1); !strings.HasPrefix(out, " <nil>") {
		t.Errorf("a member of the group got %q", out)
	}
	if out := call(s, slices.Repeat([]uint32{7}, 1000)...); !strings.HasPrefix(out, "denied") {
		t.Errorf("a member of many groups got %q", out)
	}
}

// Whom neither the kernel nor a token names is refused.
func TestUnknownCallerIsRefused(t *testing.T) {
	s := newServed(t)
	for path := range s.h.api.OpenAPI().Paths {
		r, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized && !strings.HasPrefix(path, "/v1/login") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Every operation has its rule, and every rule its operation; each refuses a role below the one it asks.
func TestPolicy(t *testing.T) {
	s := newServed(t)
	described := map[string]bool{}
	for path, item := range s.h.api.OpenAPI().Paths {
		for method, op := range map[string]any{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch} {
			data, _ := json.Marshal(op)
			var o struct {
				ID         string           `json:"operationId"`
				Role       cloud.Role       `json:"x-micro-role"`
				Permission cloud.Permission `json:"x-micro-permission"`
			}
			if string(data) == "null" || json.Unmarshal(data, &o) != nil {
				continue
			}
			described[o.ID] = true
			if r, ok := policy[o.ID]; !ok || r.needs.LeastRole() != o.Role || r.needs != o.Permission || !slices.Contains(cloud.Permissions(), r.needs) {
				t.Errorf("%s %s: %q has role %q", method, path, o.ID, o.Role)
			}
		}
	}
	for id := range policy {
		if !described[id] {
			t.Errorf("%q is not described", id)
		}
	}
	if cloud.RoleNone.Allows(cloud.RoleNone) || cloud.RoleTester.Allows(cloud.RoleDeveloper) || !cloud.RoleAdmin.Allows(cloud.RoleAuditor) {
		t.Error("roles are not in order")
	}
	delete(s.h.used, "node")
	serve(s.h, operation("unheard-of", "GET /v1/unheard-of", ""), func(context.Context, *nothing) (*nothing, error) { return nil, nil })
	if len(s.h.faults) == 0 {
		t.Error("an operation without a rule was served")
	}
}

// The document is 3.1, closed under references, and changes only on purpose.
func TestOpenAPI(t *testing.T) {
	s := newServed(t)
	doc, err := s.OpenAPI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		OpenAPI    string
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(doc, &v); err != nil || v.OpenAPI != "3.1.0" {
		t.Fatal(v.OpenAPI, err)
	}
	const ref = `"$ref":"#/components/schemas/`
	for rest := string(doc); ; {
		_, after, ok := strings.Cut(rest, ref)
		if !ok {
			break
		}
		name, _, _ := strings.Cut(after, `"`)
		if _, ok := v.Components.Schemas[name]; !ok {
			t.Errorf("%s is referred to and not there", name)
		}
		rest = after
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, doc, "", " "); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(pretty.Bytes(), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(want), bytes.TrimSpace(pretty.Bytes())) {
		t.Error("the document has changed: is that on purpose? Then go test ./api/handler -run OpenAPI -update")
	}
}

// Streams end when the node stops, and say so; nothing is left behind.
func TestStop(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	got := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		var last error
		for _, err := range s.Events(t.Context(), api.EventQuery{Tail: -1, Follow: true}) {
			if last = err; err == nil {
				close(began)
			}
		}
		got <- last
	}()
	<-began
	start := time.Now()
	s.stop()
	wantCode(t, <-got, cloud.Unavailable, "stopping")
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("it took %s to stop", d)
	}
}

// What the API costs before anybody has asked for anything.
func TestCostOfStarting(t *testing.T) {
	var before, after runtime.MemStats
	f := newFakes(t)
	d := f.deployer(t, t.TempDir())
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	h, err := New(f.config(d))
	took := time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("New took %s and keeps %d KiB", took, kept>>10)
	if kept > 4<<20 {
		t.Errorf("New keeps %d KiB", kept>>10)
	}
	runtime.KeepAlive(h)
}
