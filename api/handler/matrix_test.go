package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// frozen is a cloud that takes no change: what a request was allowed shows, and the next one finds the same.
type frozen struct {
	*fakes
	state *cloud.State
}

var errFrozen = cloud.Errorf(cloud.Conflict, "frozen")

func (f frozen) State() *cloud.State { return f.state }

func (f frozen) AtLeast(context.Context, cloud.Revision) cloud.View {
	v := cloud.NewView()
	v.State = f.state
	return v
}

func (f frozen) Update(_ context.Context, _ cloud.Actor, _, _ string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	if _, err := fn(f.state); err != nil {
		return nil, err
	}
	return nil, errFrozen
}

func (f frozen) Create(cloud.AppRef, api.PushRequest, cloud.Actor) (api.Push, error) {
	return api.Push{}, errFrozen
}

func (f frozen) Push(id string) (api.Push, error) {
	group, ok := strings.CutPrefix(id, "push-")
	if !ok {
		return api.Push{}, cloud.Errorf(cloud.NotFound, "no push %q: it ended before it made a release, and changed nothing", id).WithHint("push again")
	}
	return api.Push{ID: id, Group: cloud.GroupName(group), App: "shop"}, nil
}

func (f frozen) Pushes(cloud.GroupName) []api.Push { return nil }

func (f frozen) Cancel(context.Context, string, cloud.Actor) (api.Push, error) {
	return api.Push{}, errFrozen
}

func (f frozen) ListFiles(context.Context, string, io.Reader, func()) (api.Push, error) {
	return api.Push{}, errFrozen
}
func (f frozen) Receive(context.Context, string, io.Reader, func()) (api.Push, error) {
	return api.Push{}, errFrozen
}

func (f frozen) Events(context.Context, string, int) (iter.Seq2[api.PushEvent, error], error) {
	return nil, errFrozen
}

func (f frozen) Await(context.Context, cloud.ReleaseRef, bool) (iter.Seq2[api.WaitEvent, error], error) {
	return nil, errFrozen
}

func (f frozen) BuildLog(api.LogQuery) (iter.Seq2[api.LogLine, error], error) { return nil, errFrozen }

type frozenServices struct {
	fakeServices
	state *cloud.State
}

func (f frozenServices) Create(_ context.Context, _ cloud.Actor, _ cloud.GroupName, _ api.NewService, check func(*cloud.State, []cloud.Change) error) (cloud.ReleaseRef, cloud.Revision, error) {
	return cloud.ReleaseRef{}, 0, cloud.Join(check(f.state, nil), errFrozen)
}

// A cloud with two groups that look alike: app shop, whose release 1 is current and serves a public host and an
// internal one, and whose release 2 is staged. Each role is granted to a group of the system, in group own.
func matrixState(t *testing.T) *cloud.State {
	at := cloud.Stamp{At: time.Now(), By: "test"}
	admin := cloud.Actor{Name: "root", Role: cloud.RoleAdmin}
	settings := cloud.Settings{Domain: "micro.test"}
	s := cloud.NewState()
	s = s.Apply(1, append(s.Init(at), cloud.Put(&settings)))
	do := func(changes []cloud.Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
	}
	do(s.AddBroker(cloud.Broker{Name: "acme", URL: "https://broker.test"}, at))
	do(s.AddBackupPlace(cloud.BackupPlace{Name: "nas", Folder: "/mnt/nas"}, at))
	for _, g := range []cloud.GroupName{"own", "other"} {
		do(s.CreateGroup(g, at))
		do(s.AddWebhook(cloud.Webhook{Name: "hook-" + string(g), Group: g, URL: "https://chat.example.com/x"}, at))
		do(s.AddDomain(cloud.PublicDomain{Name: cloud.Host(g + ".example.com"), Group: g}, at))
		shop := cloud.AppRef{Group: g, App: "shop"}
		do(s.Create(shop, at))
		changes, _, err := s.Env(shop.Release(0), cloud.EnvChange{Set: map[string]string{"KEY": "value"}, Secret: true}, at)
		do(changes, err)
		for n := 1; n <= 2; n++ {
			changes, _, err := s.Push(cloud.Push{App: shop, Stage: n == 2, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1111", Name: "one"}},
				Spec: cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {}}}}, at)
			do(changes, err)
			if n == 1 {
				do(s.FinishRollout(shop, at.At, at), nil)
			} else {
				do(s.MarkUp(shop.Release(2)), nil)
			}
		}
		do(s.Share(shop.Release(1), "", cloud.LinkID("link-"+string(g)), at.At.Add(time.Hour), at))
		for _, name := range []cloud.AppName{"testdb", "proddb"} {
			service := cloud.Service{Kind: "postgres", Variable: "DATABASE_URL", Production: name == "proddb"}
			changes, _, err := s.CreateService(cloud.NewService{App: cloud.AppRef{Group: g, App: name}, Service: service, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:2222"}}}, at)
			do(changes, err)
			do(s.ScheduleBackups(cloud.BackupSchedule{AppRef: cloud.AppRef{Group: g, App: name}, Cron: "@daily", Keep: 7}, at))
		}
		for _, name := range []string{"www", "in"} {
			host := cloud.Host(name + "." + string(g) + ".example.com")
			do(s.Map(cloud.Map{Host: host, Path: "/", Public: name == "www", Target: cloud.Target{ReleaseRef: shop.Release(0)}}, at))
		}
	}
	do(s.CreateUser("anna", "hash", nil, at))
	do(s.GrantRole("user:anna", cloud.RoleTester, "own", admin, at))
	for i, role := range cloud.Roles() {
		do(s.GrantRole(cloud.UnixGroup(fmt.Sprintf("gid-%d", matrixGID(i))), role, "own", admin, at))
	}
	return s
}

// matrixGID is the system's group of the role with an index; -1 is of none.
func matrixGID(role int) uint32 { return uint32(3_000_001 + role) }

type call struct{ method, path, body string }

// calls has a request for each operation, in a group, on its staged release or on what the public reaches.
func calls(g string, staged bool) map[string]call {
	host, n, db := "www."+g+".example.com", 0, "proddb"
	if staged {
		host, n, db = "in."+g+".example.com", 2, "testdb"
	}
	group := "/v1/groups/" + g
	app := group + "/apps/shop"
	rel := fmt.Sprintf(`{"release":%d}`, n)
	b := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	service, use := group+"/services/"+db, b(`{"release":%d,"service":%q,"from":"testdb"}`, n, db)
	return map[string]call{
		"version": {"GET", "/v1/version", ""}, "openapi": {"GET", "/v1/openapi.json", ""}, "node": {"GET", "/v1/node", ""},
		"doctor": {"GET", "/v1/doctor", ""}, "profile": {"GET", "/v1/profile", ""}, "disk": {"GET", "/v1/disk", ""}, "metrics": {"GET", "/metrics", ""},
		"explain": {"GET", "/v1/explain?url=" + host, ""}, "events": {"GET", "/v1/events", ""},
		"prune": {"POST", "/v1/prune", ""}, "down": {"POST", "/v1/down", ""},
		"cluster": {"GET", "/v1/cluster", ""}, "start-cluster": {"POST", "/v1/cluster", `{}`}, "create-join-token": {"POST", "/v1/cluster/tokens", `{}`},
		"recover-cluster": {"POST", "/v1/cluster/recover", `{"lost_all_others":true}`},
		"drain-node":      {"POST", "/v1/nodes/n1/drain", ""}, "undrain-node": {"POST", "/v1/nodes/n1/undrain", ""},
		"upgrade-node": {"POST", "/v1/nodes/n1/upgrade", ""}, "remove-node": {"POST", "/v1/nodes/n1/remove", `{}`}, "label-node": {"POST", "/v1/nodes/n1/labels", `{"labels":{"zone":"a"}}`},
		"images": {"GET", "/v1/images", ""}, "load-image": {"POST", "/v1/images", ""}, "remove-image-name": {"DELETE", "/v1/images/one", ""},
		"apps": {"GET", group + "/apps", ""}, "instances": {"GET", group + "/instances", ""}, "figures": {"GET", group + "/figures", ""},
		"routes": {"GET", group + "/routes", ""}, "certificates": {"GET", group + "/certificates", ""}, "domains": {"GET", group + "/domains", ""}, "check-domain": {"GET", group + "/domains/" + g + ".example.com/check", ""},
		"webhooks": {"GET", group + "/webhooks", ""}, "add-webhook": {"POST", group + "/webhooks", `{"name":"chat","url":"https://chat.example.com/x"}`},
		"remove-webhook": {"DELETE", group + "/webhooks/hook-" + g, ""}, "test-webhook": {"POST", group + "/webhooks/hook-" + g + "/test", ""},
		"add-domain": {"POST", group + "/domains", `{"name":"example.com"}`}, "remove-domain": {"DELETE", group + "/domains/" + g + ".example.com", ""}, "pushes": {"GET", group + "/pushes", ""},
		"app": {"GET", app, ""}, "releases": {"GET", app + "/releases", ""}, "release": {"GET", app + "/releases/2", ""},
		"diff": {"GET", app + "/diff?from=1&to=2", ""}, "wait": {"GET", app + "/releases/2/wait", ""},
		"logs": {"GET", app + b("/logs?release=%d", n), ""}, "env": {"GET", app + "/env", ""},
		"secret":     {"GET", app + "/secrets/KEY", ""},
		"create-app": {"POST", group + "/apps", `{"name":"new"}`},
		"set-env":    {"POST", app + "/env", b(`{"release":%d,"set":{"A":"b"}}`, n)},
		"promote":    {"POST", app + "/promote", `{"release":2}`}, "rollback": {"POST", app + "/rollback", `{}`},
		"scale":   {"POST", app + "/scale", b(`{"release":%d,"processes":{"web":{"instances":3}}}`, n)},
		"restart": {"POST", app + "/restart", rel}, "stop": {"POST", app + "/stop", b(`{"release":%d,"force":true}`, n)}, "start": {"POST", app + "/start", rel},
		"delete-app": {"DELETE", app, ""}, "delete-release": {"DELETE", app + b("/releases/%d", max(n, 1)), ""},
		"exec": {"POST", app + "/exec", b(`{"release":%d,"args":["ls"]}`, n)}, "run": {"POST", app + "/run", b(`{"release":%d,"args":["ls"]}`, n)},
		"map":              {"POST", group + "/routes/map", b(`{"host":%q,"app":"shop","release":1,"path":"/a"}`, host)},
		"unmap":            {"POST", group + "/routes/unmap", b(`{"host":%q,"app":"shop","force":true}`, host)},
		"traffic":          {"POST", group + "/routes/traffic", b(`{"host":%q,"targets":[{"app":"shop","weight":1}]}`, host)},
		"hold":             {"POST", group + "/routes/hold", b(`{"host":%q,"id":"1","max":"1s"}`, host)},
		"end-hold":         {"POST", group + "/routes/end-hold", b(`{"host":%q,"id":"1"}`, host)},
		"swap":             {"POST", group + "/routes/swap", b(`{"a":%q,"b":%q}`, host, host)},
		"crossfade":        {"POST", group + "/routes/crossfade", b(`{"host":%q,"app":"shop","release":2}`, host)},
		"crossfade-pause":  {"POST", group + "/routes/crossfade-pause", b(`{"host":%q}`, host)},
		"crossfade-resume": {"POST", group + "/routes/crossfade-resume", b(`{"host":%q}`, host)},
		"crossfade-abort":  {"POST", group + "/routes/crossfade-abort", b(`{"host":%q}`, host)},
		"share":            {"POST", app + "/links", b(`{"release":%d,"for":"1h"}`, max(n, 1))},
		"unshare":          {"DELETE", group + "/links/link-" + g, ""},
		"links":            {"GET", group + "/links", ""},
		"pass":             {"POST", group + "/routes/pass", b(`{"host":%q,"app":"shop","release":1}`, host)},
		"limits":           {"POST", group + "/routes/limits", b(`{"host":%q,"limits":{"idle":"30s"}}`, host)},
		"route-limits":     {"GET", group + "/routes/limits?host=" + host, ""},
		"cloud-limits":     {"GET", "/v1/limits", ""}, "set-cloud-limits": {"POST", "/v1/limits", `{"limits":{"idle":"30s"}}`}, "audit": {"GET", "/v1/audit", ""}, "reviews": {"GET", app + "/reviews", ""}, "timeline": {"GET", app + "/timeline", ""}, "review": {"POST", app + "/reviews", b(`{"release":%d,"approved":false,"text":"no"}`, max(n, 1))},
		"lock": {"POST", app + "/lock", `{"text":"no"}`}, "unlock": {"DELETE", app + "/lock", ""}, "require-approval": {"POST", group + "/approval", `{"approval_required":true}`}, "verify-audit": {"GET", "/v1/audit/verify", ""}, "authority": {"GET", "/v1/authority", ""},
		"compare":  {"GET", group + "/compare?host=" + host, ""},
		"shipment": {"GET", app + "/releases/2/shipment", ""}, "archive": {"POST", app + "/releases/2/archive", "{}"}, "blobs": {"POST", app + "/blobs", `{"digests":["sha256:l"]}`},
		"push":       {"POST", app + "/pushes", b(`{"image":"one","stage":%t,"spec":{}}`, staged)},
		"list-files": {"PUT", "/v1/pushes/push-" + g + "/files", ""},
		"upload":     {"PUT", "/v1/pushes/push-" + g + "/upload", ""}, "show-push": {"GET", "/v1/pushes/push-" + g, ""},
		"fades":       {"GET", group + "/fades?host=" + host, ""},
		"push-events": {"GET", "/v1/pushes/push-" + g + "/events", ""}, "cancel-push": {"DELETE", "/v1/pushes/push-" + g, ""},
		"groups": {"GET", "/v1/groups", ""}, "create-group": {"POST", "/v1/groups", `{"name":"new"}`}, "delete-group": {"DELETE", group, ""},
		"egress": {"GET", group + "/egress?app=shop", ""}, "set-egress": {"POST", group + "/egress", `{"app":"shop","allow":["192.0.2.1"]}`},
		"services": {"GET", group + "/services", ""}, "service": {"GET", service, ""}, "create-service": {"POST", group + "/services", `{"name":"newdb","kind":"postgres"}`},
		"delete-service": {"DELETE", service, ""}, "undelete-service": {"POST", service + "/undelete", ""},
		"backups": {"GET", service + "/backups", ""}, "backup-service": {"POST", service + "/backups", `{}`}, "delete-backup": {"DELETE", service + "/backups/latest", ""},
		"restore-service": {"POST", service + "/restore", `{}`}, "drill-service": {"POST", service + "/drill", `{}`}, "clone-service": {"POST", service + "/clone", `{"name":"newdb"}`},
		"key": {"GET", "/v1/key", ""}, "rotate-key": {"POST", "/v1/key/rotate", ""},
		"upgrade-service": {"POST", service + "/upgrade", `{}`}, "backup-places": {"GET", "/v1/backup-places", ""}, "remove-backup-place": {"DELETE", "/v1/backup-places/nas", ""},
		"add-backup-place": {"POST", "/v1/backup-places", `{"name":"other","location":"/mnt/other"}`},
		"brokers":          {"GET", "/v1/brokers", ""}, "broker": {"GET", "/v1/brokers/acme", ""}, "add-broker": {"POST", "/v1/brokers", `{"name":"other","url":"https://broker.test"}`},
		"refresh-broker": {"POST", "/v1/brokers/acme/refresh", ""}, "remove-broker": {"DELETE", "/v1/brokers/acme", ""}, "update-service": {"POST", service + "/update", `{"plan":"large"}`},
		"schedule-backups": {"POST", service + "/schedule", `{"cron":"@daily","keep":7}`}, "end-schedule": {"DELETE", service + "/schedule", ""},
		"volumes": {"GET", group + "/volumes?app=shop", ""}, "volume-backups": {"GET", app + "/volumes/data/backups", ""}, "backup-volume": {"POST", app + "/volumes/data/backups", `{}`},
		"restore-volume": {"POST", app + "/volumes/data/restore", `{}`}, "delete-volume-backup": {"DELETE", app + "/volumes/data/backups/latest", ""}, "move-volumes": {"POST", app + "/move", `{"to":"n2"}`},
		"bindings": {"GET", app + "/bindings", ""}, "bind": {"POST", app + "/bind", use}, "unbind": {"POST", app + "/unbind", use},
		"rebind": {"POST", app + "/rebind", use}, "rotate": {"POST", app + "/rotate", use},
		"service-kinds": {"GET", "/v1/service-kinds", ""}, "add-service-kind": {"POST", "/v1/service-kinds", `{"text":"x"}`},
		"set-service-image": {"POST", "/v1/service-kinds/postgres/images", `{"version":"15","image":"one"}`},
		"quota":             {"GET", group + "/quota", ""}, "set-quota": {"POST", group + "/quota", `{"instances":9}`},
		"users": {"GET", "/v1/users", ""}, "create-user": {"POST", "/v1/users", `{"name":"bob"}`}, "delete-user": {"DELETE", "/v1/users/anna", ""},
		"disable-user": {"POST", "/v1/users/anna/disabled", `{"disabled":true}`}, "set-password": {"POST", "/v1/users/anna/password", `{"new":"0123456789ab"}`},
		"login-browser":        {"POST", "/v1/login/browser", `{"redirect":"http://localhost:1/callback","state":"0123456789abcdef","nonce":"0123456789abcdef","challenge":"0123456789012345678901234567890123456789012"}`},
		"login-browser-finish": {"POST", "/v1/login/browser/finish", `{"redirect":"http://localhost:1/callback","code":"a","nonce":"0123456789abcdef","verifier":"0123456789012345678901234567890123456789012"}`},
		"login-device":         {"POST", "/v1/login/device", ""},
		"login-device-finish":  {"POST", "/v1/login/device/finish", `{"device_code":"a"}`},
		"oidc":                 {"GET", "/v1/oidc", ""},
		"set-oidc":             {"POST", "/v1/oidc", `{"issuer":"https://id.example.com","client_id":"a","scopes":[],"name_claim":"","groups_claim":""}`},
		"delete-oidc":          {"DELETE", "/v1/oidc", ""},
		"login":                {"POST", "/v1/login", `{"user":"anna","password":"no"}`}, "logout": {"POST", "/v1/logout", ""}, "tokens": {"GET", "/v1/tokens", ""},
		"create-token": {"POST", "/v1/tokens", `{"for":"1h","role":"auditor"}`}, "revoke-token": {"DELETE", "/v1/tokens/none", ""},
		"roles": {"GET", "/v1/roles", ""}, "whoami": {"GET", "/v1/whoami", ""},
		"grant-role":        {"POST", group + "/roles", `{"subject":"anna","role":"tester"}`},
		"revoke-role":       {"POST", group + "/roles/revoke", `{"subject":"anna","role":"tester"}`},
		"grant-role-cloud":  {"POST", "/v1/roles", `{"subject":"anna","role":"tester"}`},
		"revoke-role-cloud": {"POST", "/v1/roles/revoke", `{"subject":"anna","role":"tester"}`},
	}
}

// The least role in a group that each operation takes: on what is staged or internal, and on what the public
// reaches; "-" where no role in a group is enough, "*" where none is needed. Nothing else is allowed.
var matrix = map[string][2]cloud.Role{
	"version": {"auditor", "auditor"}, "openapi": {"auditor", "auditor"}, "node": {"auditor", "auditor"},
	"doctor": {"-", "-"}, "profile": {"-", "-"}, "disk": {"-", "-"}, "metrics": {"-", "-"}, "prune": {"-", "-"}, "down": {"-", "-"}, "load-image": {"-", "-"}, "remove-image-name": {"-", "-"},
	"cluster": {"-", "-"}, "start-cluster": {"-", "-"}, "create-join-token": {"-", "-"}, "recover-cluster": {"-", "-"}, "drain-node": {"-", "-"}, "undrain-node": {"-", "-"}, "remove-node": {"-", "-"}, "upgrade-node": {"-", "-"}, "label-node": {"-", "-"},
	"explain": {"auditor", "auditor"}, "events": {"auditor", "auditor"}, "images": {"auditor", "auditor"},
	"apps": {"auditor", "auditor"}, "instances": {"auditor", "auditor"}, "figures": {"auditor", "auditor"}, "routes": {"auditor", "auditor"}, "certificates": {"auditor", "auditor"},
	"domains": {"auditor", "auditor"}, "check-domain": {"auditor", "auditor"}, "add-domain": {"releaser", "releaser"}, "remove-domain": {"releaser", "releaser"},
	"webhooks": {"auditor", "auditor"}, "add-webhook": {"admin", "admin"}, "remove-webhook": {"admin", "admin"}, "test-webhook": {"admin", "admin"},
	"pushes": {"auditor", "auditor"}, "app": {"auditor", "auditor"}, "releases": {"auditor", "auditor"}, "release": {"auditor", "auditor"},
	"diff": {"auditor", "auditor"}, "wait": {"auditor", "auditor"}, "compare": {"auditor", "auditor"}, "fades": {"auditor", "auditor"}, "quota": {"auditor", "auditor"}, "groups": {"auditor", "auditor"},
	"logs": {"tester", "developer"}, "scale": {"tester", "developer"}, "restart": {"tester", "developer"}, "exec": {"tester", "developer"}, "run": {"tester", "developer"},
	"env": {"developer", "developer"}, "secret": {"developer", "developer"}, "create-app": {"developer", "developer"},
	"shipment": {"developer", "developer"}, "archive": {"developer", "developer"}, "blobs": {"developer", "developer"},
	"set-env": {"developer", "releaser"}, "push": {"developer", "releaser"}, "stop": {"developer", "releaser"}, "start": {"developer", "releaser"},
	"delete-release": {"developer", "releaser"},
	"promote":        {"releaser", "releaser"}, "rollback": {"releaser", "releaser"}, "delete-app": {"releaser", "releaser"},
	"map": {"developer", "releaser"}, "unmap": {"developer", "releaser"}, "traffic": {"developer", "releaser"}, "swap": {"developer", "releaser"},
	"hold": {"developer", "releaser"}, "end-hold": {"developer", "releaser"},
	"crossfade": {"developer", "releaser"}, "crossfade-pause": {"developer", "releaser"}, "crossfade-resume": {"developer", "releaser"}, "crossfade-abort": {"developer", "releaser"},
	"limits": {"developer", "releaser"}, "route-limits": {"auditor", "auditor"}, "cloud-limits": {"-", "-"}, "set-cloud-limits": {"-", "-"},
	"authority": {"auditor", "auditor"}, "audit": {"-", "-"}, "reviews": {"auditor", "auditor"}, "timeline": {"auditor", "auditor"}, "review": {"tester", "developer"}, "lock": {"releaser", "releaser"}, "unlock": {"releaser", "releaser"}, "require-approval": {"admin", "admin"}, "verify-audit": {"-", "-"},
	"pass":  {"releaser", "releaser"},
	"share": {"releaser", "releaser"}, "unshare": {"releaser", "releaser"}, "links": {"auditor", "auditor"},
	"list-files": {"developer", "developer"},
	"upload":     {"developer", "developer"}, "show-push": {"developer", "developer"}, "push-events": {"developer", "developer"}, "cancel-push": {"developer", "developer"},
	"create-group": {"-", "-"}, "delete-group": {"-", "-"}, "set-quota": {"-", "-"},
	"services": {"auditor", "auditor"}, "service": {"auditor", "auditor"}, "create-service": {"developer", "developer"},
	"delete-service": {"developer", "releaser"}, "undelete-service": {"developer", "releaser"}, "bindings": {"auditor", "auditor"},
	"bind": {"developer", "releaser"}, "unbind": {"developer", "releaser"}, "rebind": {"developer", "releaser"}, "rotate": {"developer", "releaser"},
	"backups": {"auditor", "auditor"}, "backup-service": {"developer", "releaser"}, "delete-backup": {"developer", "releaser"}, "restore-service": {"developer", "releaser"},
	"drill-service": {"developer", "releaser"}, "clone-service": {"developer", "releaser"}, "schedule-backups": {"developer", "releaser"},
	"volumes": {"auditor", "auditor"}, "volume-backups": {"auditor", "auditor"}, "backup-volume": {"releaser", "releaser"}, "restore-volume": {"releaser", "releaser"},
	"delete-volume-backup": {"releaser", "releaser"}, "move-volumes": {"releaser", "releaser"},
	"key": {"-", "-"}, "rotate-key": {"-", "-"},
	"upgrade-service": {"developer", "releaser"}, "backup-places": {"auditor", "auditor"}, "add-backup-place": {"-", "-"}, "remove-backup-place": {"-", "-"}, "end-schedule": {"developer", "releaser"},
	"brokers": {"auditor", "auditor"}, "broker": {"auditor", "auditor"}, "add-broker": {"-", "-"}, "refresh-broker": {"-", "-"}, "remove-broker": {"-", "-"}, "update-service": {"developer", "releaser"},
	"service-kinds": {"auditor", "auditor"}, "add-service-kind": {"-", "-"}, "set-service-image": {"-", "-"},
	"users": {"-", "-"}, "create-user": {"-", "-"}, "delete-user": {"-", "-"}, "disable-user": {"-", "-"}, "set-password": {"-", "-"},
	"roles": {"*", "*"}, "whoami": {"*", "*"}, "logout": {"*", "*"}, "tokens": {"*", "*"}, "revoke-token": {"-", "-"}, "create-token": {"-", "-"},
	"login": {"+", "+"}, "login-browser": {"+", "+"}, "login-browser-finish": {"+", "+"}, "login-device": {"+", "+"}, "login-device-finish": {"+", "+"},
	"egress": {"auditor", "auditor"}, "set-egress": {"admin", "admin"},
	"oidc": {"-", "-"}, "set-oidc": {"-", "-"}, "delete-oidc": {"-", "-"},
	"grant-role": {"admin", "admin"}, "revoke-role": {"admin", "admin"}, "grant-role-cloud": {"-", "-"}, "revoke-role-cloud": {"-", "-"},
}

// nowhere are the operations that are about no group: another group's and the own are the same.
func nowhere(op string) bool {
	in := policy[op].in
	return in == anywhere || in == inCloud || in == ofOwn || in == byAnyone
}

func newMatrix(t *testing.T) (*Handler, *cloud.State) {
	f := frozen{newFakes(t), matrixState(t)}
	f.lines = func(func(api.LogLine, error) bool) {}
	c := f.fakes.config(nil)
	c.Store, c.Views, c.Pushes, c.Transfers, c.Rollouts, c.BuildLogs = f, f, f, f, f, f
	c.Services = frozenServices{fakeServices{f.fakes}, f.state}
	c.Backups, c.VolumeWorks = fakeBackups{}, fakeVolumeWorks{}
	c.Log = slog.New(slog.DiscardHandler)
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, f.state
}

// ask sends a request as a member of a group of the system, and returns the code of the answer.
func ask(t *testing.T, h *Handler, gid uint32, c call) (cloud.Code, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: 3_000_000, groups: []uint32{gid}}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code < 300 {
		return "", w.Body.String()
	}
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
	}
	return p.Code, p.Detail
}

func TestMatrix(t *testing.T) {
	for op := range policy {
		if _, ok := matrix[op]; !ok {
			t.Errorf("the matrix has no operation %q", op)
		}
	}
	h, _ := newMatrix(t)
	roles := append([]cloud.Role{cloud.RoleNone}, cloud.Roles()...)
	tried := 0
	for _, group := range []string{"own", "other"} {
		for i, kind := range []string{"staged", "public"} {
			requests := calls(group, kind == "staged")
			for _, op := range slices.Sorted(maps.Keys(matrix)) {
				c, ok := requests[op]
				if !ok {
					t.Errorf("there is no request for %q", op)
					continue
				}
				for j, role := range roles {
					least := matrix[op][i]
					want := role.Allows(least)
					switch {
					case least == "-", group == "other" && !nowhere(op):
						want = false
					case least == "+":
						want = true
					case least == "*":
						want = role != cloud.RoleNone // a stranger on the socket is refused as such
					}
					code, detail := ask(t, h, matrixGID(j-1), c)
					refused := code == cloud.Denied || code == cloud.NotFound
					tried++
					if refused == want {
						t.Errorf("%q on the %s things of group %s: %s %q", op, kind, group, code, detail)
					}
					foreign := group == "other" && !nowhere(op) && role != cloud.RoleNone && policy[op].in != inCloud
					if foreign && code != cloud.NotFound {
						t.Errorf("%s: %q of another group is answered %s: %s", role, op, code, detail)
					}
				}
			}
		}
	}
	if tried < 2*2*6*len(policy) {
		t.Errorf("%d requests were tried", tried)
	}
}

// Another group's things are answered as things that are not there.
func TestForeignIsAsUnknown(t *testing.T) {
	h, _ := newMatrix(t)
	admin := matrixGID(len(cloud.Roles()) - 1)
	for op, c := range calls("other", true) {
		if nowhere(op) {
			continue
		}
		_, foreign := ask(t, h, admin, c)
		_, unknown := ask(t, h, admin, calls("nosuch", true)[op])
		if strings.ReplaceAll(foreign, "other", "nosuch") != unknown && policy[op].in != ofPush {
			t.Errorf("%s: %q, and of a group that is not there %q", op, foreign, unknown)
		}
	}
	_, foreign := ask(t, h, admin, call{"GET", "/v1/pushes/push-other", ""})
	_, unknown := ask(t, h, admin, call{"GET", "/v1/pushes/nosuch", ""})
	if strings.ReplaceAll(foreign, "push-other", "nosuch") != unknown {
		t.Errorf("a push: %q, %q", foreign, unknown)
	}
}

// What a caller is shown has nothing of other groups.
func TestListsAreFiltered(t *testing.T) {
	h, _ := newMatrix(t)
	for op, c := range calls("own", true) {
		if c.method != http.MethodGet || op == "openapi" {
			continue
		}
		if code, body := ask(t, h, matrixGID(4), c); code == "" && strings.Contains(body, "other") {
			t.Errorf("%s shows %s", op, body)
		}
	}
	code, body := ask(t, h, matrixGID(4), call{"GET", "/v1/images", ""})
	if code != "" || !strings.Contains(body, `"used":["own/shop@r1","own/shop@r2"]`) {
		t.Errorf("images: %s %s", code, body)
	}
	for host, works := range map[string]bool{"www.own.example.com": true, "www.other.example.com": false, "shop.other.micro.test": false, "shop.own.micro.test": true} {
		f := h.Inspector.(*fakes)
		f.trace = Trace{Internal: Routing{Known: true, Host: host, Path: "/", Mapped: strings.HasPrefix(host, "www")}, Local: true, Name: Naming{Ours: true, Code: "NOERROR"}}
		_, body := ask(t, h, matrixGID(4), call{"GET", "/v1/explain?url=" + host, ""})
		if hidden := strings.Contains(body, "NXDOMAIN") || strings.Contains(body, "is not a name of this node"); hidden == works {
			t.Errorf("explain %s: %s", host, body)
		}
	}
}

// What is followed ends when the role goes.
func TestRevokedStreamsEnd(t *testing.T) {
	s := newServed(t)
	admin := cloud.Actor{Name: "root", Role: cloud.RoleAdmin}
	update := func(fn func(*cloud.State) ([]cloud.Change, error)) {
		t.Helper()
		if _, err := s.f.Update(t.Context(), admin, "test", "", fn); err != nil {
			t.Fatal(err)
		}
	}
	at := cloud.Stamp{At: time.Now(), By: "test"}
	grant := cloud.UnixGroup(fmt.Sprintf("gid-%d", matrixGID(0)))
	update(func(s *cloud.State) ([]cloud.Change, error) {
		return s.GrantRole(grant, cloud.RoleAuditor, cloud.DefaultGroup, admin, at)
	})
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events?follow=true&group=default", nil)
	r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: 3_000_000, groups: []uint32{matrixGID(0)}}))
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.h.ServeHTTP(w, r)
	}()
	update(func(s *cloud.State) ([]cloud.Change, error) {
		return s.RevokeRole(grant, cloud.RoleAuditor, cloud.DefaultGroup, admin)
	})
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the stream goes on")
	}
}
