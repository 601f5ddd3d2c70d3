package brokertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is how a request fails.
type Fault string

// The faults. The first ones fail before anything is done, those from Lost on after it was done.
const (
	Busy      Fault = "busy"       // 422 ConcurrencyError
	Outdated  Fault = "outdated"   // 422 MaintenanceInfoConflict
	Refused   Fault = "refused"    // 400
	Timeout   Fault = "408"        // 408
	Broken    Fault = "500"        // 500
	Dropped   Fault = "dropped"    // the connection ends without an answer
	Gone      Fault = "410"        // 410
	Stateless Fault = "404"        // 404
	Empty     Fault = "200-broken" // 200, and the body is no JSON
	Fails     Fault = "fails"      // accepted, and it fails later
	Hangs     Fault = "hangs"      // accepted, and it never ends

	Lost      Fault = "lost"       // done; the connection ends without an answer
	BrokenYet Fault = "500-done"   // done; 500
	Malformed Fault = "201-broken" // done; 201 or 202, and the body is no JSON
	Odd       Fault = "207"        // done; 207
	Slow      Fault = "slow"       // done; the answer takes longer than Delay
)

// Broker is the broker. Its fields may be set before it serves, and its methods be called at any time.
type Broker struct {
	Username, Password string
	// Polls is how often it says "in progress" before something is done; 0 does all at once.
	Polls int
	// Delay is how long a Slow answer takes.
	Delay time.Duration
	// RetryAfter is said by last_operation in seconds, 0 for nothing.
	RetryAfter int
	// MaxPolling is maximum_polling_duration of the plans, 0 for none.
	MaxPolling int
	// Rotatable says that a binding may be made as the successor of another one.
	Rotatable bool
	// Expires is when bindings end, "" for never.
	Expires string
	// Maintenance is the version of maintenance_info of the plans, "" for none.
	Maintenance string

	mu        sync.Mutex
	instances map[string]*thing
	bindings  map[string]*thing // by "instance/binding"
	faults    map[string][]Fault
	requests  []string
	wrong     []string
}

// thing is an instance or a binding. A deleted one is remembered while somebody may ask about its end.
type thing struct {
	plan   string
	op     string // what is done to it, "" for nothing
	left   int    // polls until then
	fails  bool
	hangs  bool
	exists bool
	next   string // the plan after an update

	maintenance, nextMaintenance string
	parameters                   string // in JSON
	predecessor                  string // the binding that it is the successor of
}

// Fail has the next requests of a kind fail, one after the other. Kinds are catalog, provision, update, deprovision, bind,
// unbind, last, last-binding, fetch.
func (b *Broker) Fail(kind string, faults ...Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults == nil {
		b.faults = map[string][]Fault{}
	}
	b.faults[kind] = append(b.faults[kind], faults...)
}

// SetPolls changes Polls.
func (b *Broker) SetPolls(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Polls = n
}

// Instances returns how many instances there are, those that are being made included.
func (b *Broker) Instances() int { return b.count(func() map[string]*thing { return b.instances }) }

// Bindings returns how many bindings there are.
func (b *Broker) Bindings() int { return b.count(func() map[string]*thing { return b.bindings }) }

func (b *Broker) count(of func() map[string]*thing) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range of() {
		if t.exists {
			n++
		}
	}
	return n
}

// Plans returns the plans of the instances.
func (b *Broker) Plans() (plans []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.instances {
		if t.exists {
			plans = append(plans, t.plan)
		}
	}
	slices.Sort(plans)
	return plans
}

// SetMaintenance changes Maintenance, and Rotatable.
func (b *Broker) SetMaintenance(version string, rotatable bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Maintenance, b.Rotatable = version, rotatable
}

// Made describes the instances with their maintenance, and the bindings with their parameters and whether they are the
// successors of others.
func (b *Broker) Made() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.instances {
		if t.exists {
			all = append(all, strings.Join(strings.Fields("instance "+t.maintenance+" "+t.parameters), " "))
		}
	}
	for _, t := range b.bindings {
		if !t.exists {
			continue
		}
		what := "binding"
		if t.predecessor != "" {
			what = "successor"
		}
		all = append(all, strings.TrimSpace(what+" "+t.parameters))
	}
	slices.Sort(all)
	return all
}

// Requests returns the kinds of all requests so far, and forgets them.
func (b *Broker) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.requests
	b.requests = nil
	return all
}

// Wrong returns what requests had that the specification does not allow.
func (b *Broker) Wrong() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.wrong)
}

// ServiceID and the plans' IDs are those of the catalog.
const (
	ServiceID = "7f1e7e68-0000-4000-8000-000000000001"
	SmallID   = "7f1e7e68-0000-4000-8000-000000000002"
	LargeID   = "7f1e7e68-0000-4000-8000-000000000003"
)

type object = map[string]any

var conflict = object{"error": "MaintenanceInfoConflict", "description": "the maintenance information has changed"}

// ServeHTTP answers a request.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var content object
	if r.Body != nil {
		_ = json.NewDecoder(r.Body).Decode(&content)
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	kind := kindOf(r.Method, parts)
	b.mu.Lock()
	b.requests = append(b.requests, kind)
	var fault Fault
	if queue := b.faults[kind]; len(queue) > 0 {
		fault, b.faults[kind] = queue[0], queue[1:]
	}
	b.mu.Unlock()
	if user, password, _ := r.BasicAuth(); user != b.Username || password != b.Password {
		answer(w, http.StatusUnauthorized, object{"description": "who are you?"})
		return
	}
	if reason := b.check(kind, r, content); reason != "" {
		b.mu.Lock()
		b.wrong = append(b.wrong, kind+": "+reason)
		b.mu.Unlock()
		answer(w, http.StatusBadRequest, object{"description": reason})
		return
	}
	switch fault {
	case Busy:
		answer(w, http.StatusUnprocessableEntity, object{"error": "ConcurrencyError", "description": "another operation is in progress"})
		return
	case Outdated:
		answer(w, http.StatusUnprocessableEntity, conflict)
		return
	case Refused:
		answer(w, http.StatusBadRequest, object{"description": "no such size"})
		return
	case Timeout, Gone, Stateless, Broken:
		status, _ := strconv.Atoi(string(fault))
		answer(w, status, object{"description": "fault " + string(fault)})
		return
	case Dropped:
		hangUp(w)
		return
	case Empty:
		w.WriteHeader(http.StatusOK)
		fmt.Fprint(w, "<html>")
		return
	}
	status, body := b.serve(kind, parts, r, content, fault)
	switch fault {
	case Lost:
		hangUp(w)
	case BrokenYet:
		answer(w, http.StatusInternalServerError, object{"description": "fault after it was done"})
	case Malformed:
		w.WriteHeader(max(status, http.StatusCreated))
		fmt.Fprint(w, "<html>")
	case Odd:
		answer(w, http.StatusMultiStatus, body)
	case Slow:
		select {
		case <-r.Context().Done():
		case <-time.After(b.Delay):
		}
		answer(w, status, body)
	default:
		if strings.HasPrefix(kind, "last") && b.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(b.RetryAfter))
		}
		answer(w, status, body)
	}
}

func hangUp(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		c.Close()
	}
}

func answer(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func kindOf(method string, parts []string) string {
	last := parts[len(parts)-1] == "last_operation"
	switch {
	case slices.Equal(parts, []string{"v2", "catalog"}):
		return "catalog"
	case last && len(parts) == 6:
		return "last-binding"
	case last:
		return "last"
	case len(parts) == 5:
		return map[string]string{http.MethodPut: "bind", http.MethodDelete: "unbind", http.MethodGet: "fetch"}[method]
	}
	return map[string]string{http.MethodPut: "provision", http.MethodPatch: "update", http.MethodDelete: "deprovision"}[method]
}

// check says what the specification does not allow about a request, "" for nothing.
func (b *Broker) check(kind string, r *http.Request, content object) string {
	q := r.URL.Query()
	has := func(m object, keys ...string) string {
		for _, k := range keys {
			if s, _ := m[k].(string); s == "" {
				return "no " + k
			}
		}
		return ""
	}
	fields := object{"service_id": q.Get("service_id"), "plan_id": q.Get("plan_id")}
	if r.Header.Get("X-Broker-API-Version") != "2.17" {
		return "no X-Broker-API-Version"
	}
	if r.Header.Get("X-Broker-API-Request-Identity") == "" {
		return "no X-Broker-API-Request-Identity"
	}
	if who := r.Header.Get("X-Broker-API-Originating-Identity"); who != "" {
		platform, value, _ := strings.Cut(who, " ")
		text, err := base64.StdEncoding.DecodeString(value)
		if platform == "" || err != nil || !json.Valid(text) {
			return "malformed X-Broker-API-Originating-Identity"
		}
	}
	switch kind {
	case "catalog", "fetch":
		return ""
	case "provision":
		return has(content, "service_id", "plan_id", "organization_guid", "space_guid") + incomplete(q.Get("accepts_incomplete"))
	case "update":
		return has(content, "service_id") + incomplete(q.Get("accepts_incomplete"))
	case "bind":
		if before, ok := content["predecessor_binding_id"]; ok {
			if content["parameters"] != nil {
				return "parameters of a successor"
			}
			return b.successor(r, before) + incomplete(q.Get("accepts_incomplete"))
		}
		return has(content, "service_id", "plan_id", "app_guid") + incomplete(q.Get("accepts_incomplete"))
	case "deprovision", "unbind":
		return has(fields, "service_id", "plan_id") + incomplete(q.Get("accepts_incomplete"))
	case "last", "last-binding":
		return has(fields, "service_id", "plan_id")
	}
	return "no such request: " + r.Method + " " + r.URL.Path
}

// successor says why a binding cannot be the successor of another one, "" for nothing.
func (b *Broker) successor(r *http.Request, before any) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	name, _ := before.(string)
	switch t := b.bindings[parts[2]+"/"+name]; {
	case !b.Rotatable:
		return "bindings of the plan have no successors"
	case t == nil || !t.exists || t.op != "":
		return "no predecessor " + name
	}
	return ""
}

func incomplete(value string) string {
	if value != "true" {
		return "no accepts_incomplete"
	}
	return ""
}

// serve carries a request out.
func (b *Broker) serve(kind string, parts []string, r *http.Request, content object, fault Fault) (int, object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.instances == nil {
		b.instances, b.bindings = map[string]*thing{}, map[string]*thing{}
	}
	if kind == "catalog" {
		return http.StatusOK, b.catalog()
	}
	id := parts[2]
	key := ""
	if len(parts) >= 5 {
		key = id + "/" + parts[4]
	}
	plan, _ := content["plan_id"].(string)
	info, _ := content["maintenance_info"].(object)
	if version, _ := info["version"].(string); info != nil && version != b.Maintenance {
		return http.StatusUnprocessableEntity, conflict
	}
	switch kind {
	case "provision":
		return b.make(b.instances, id, content, "provision", fault, object{"dashboard_url": "https://broker.test/" + id})
	case "bind":
		if i := b.instances[id]; i == nil || !i.exists || i.op != "" {
			return http.StatusNotFound, object{"description": "no such instance"}
		}
		if before, ok := content["predecessor_binding_id"].(string); ok {
			content["parameters"] = json.RawMessage(b.bindings[id+"/"+before].parameters)
		}
		return b.make(b.bindings, key, content, "bind", fault, b.credentials(parts[4]))
	case "update":
		return b.update(b.instances[id], plan, info, fault)
	case "deprovision":
		for of, t := range b.bindings {
			if strings.HasPrefix(of, id+"/") && t.exists {
				b.wrong = append(b.wrong, "deprovision: there are bindings")
			}
		}
		return b.remove(b.instances[id], "deprovision", fault)
	case "unbind":
		return b.remove(b.bindings[key], "unbind", fault)
	case "last":
		return b.last(b.instances[id], r.URL.Query().Get("operation"))
	case "last-binding":
		return b.last(b.bindings[key], r.URL.Query().Get("operation"))
	}
	if t := b.bindings[key]; kind == "fetch" && t != nil && t.exists && t.op == "" {
		return http.StatusOK, b.credentials(parts[4])
	}
	return http.StatusNotFound, object{"description": "no such thing"}
}

func (b *Broker) catalog() object {
	plan := func(id, name string) object {
		p := object{"id": id, "name": name, "description": "a " + name + " database"}
		if b.MaxPolling > 0 {
			p["maximum_polling_duration"] = b.MaxPolling
		}
		if b.Rotatable {
			p["binding_rotatable"] = true
		}
		if b.Maintenance != "" {
			p["maintenance_info"] = object{"version": b.Maintenance, "description": "a newer operating system"}
		}
		return p
	}
	return object{"services": []object{{
		"id": ServiceID, "name": "sql", "description": "a database", "tags": []string{"postgres", "relational"}, "bindable": true, "plan_updateable": true,
		"bindings_retrievable": true, "plans": []object{plan(SmallID, "small"), plan(LargeID, "large")},
	}}}
}

// credentials has names that a broker may choose, some of which must not become files or variables.
func (b *Broker) credentials(binding string) object {
	return object{"metadata": object{"expires_at": b.Expires}, "credentials": object{
		"uri": "postgres://u-" + binding + ":secret-" + binding + "@db.broker.test:5432/app", "hostname": "db.broker.test", "port": 5432,
		"username": "u-" + binding, "password": "secret-" + binding, "name": "app", "replicas": []string{"a", "b"}, "../../escape": "no",
	}}
}

// make makes an instance or a binding.
func (b *Broker) make(all map[string]*thing, id string, content object, op string, fault Fault, body object) (int, object) {
	t := all[id]
	plan, _ := content["plan_id"].(string)
	switch {
	case t != nil && t.exists && t.plan != plan:
		return http.StatusConflict, object{"description": "it has another plan"}
	case t != nil && t.exists && t.op == op:
		return http.StatusAccepted, object{"operation": op}
	case t != nil && t.exists && t.op != "":
		return http.StatusUnprocessableEntity, object{"error": "ConcurrencyError"}
	case t != nil && t.exists:
		return http.StatusOK, body
	}
	t = &thing{plan: plan, exists: true}
	t.predecessor, _ = content["predecessor_binding_id"].(string)
	if info, ok := content["maintenance_info"].(object); ok {
		t.maintenance, _ = info["version"].(string)
	}
	if text, err := json.Marshal(content["parameters"]); err == nil && string(text) != "null" {
		t.parameters = string(text)
	}
	all[id] = t
	if b.begin(t, op, fault) {
		answer := object{"operation": op}
		if url, ok := body["dashboard_url"]; ok {
			answer["dashboard_url"] = url
		}
		return http.StatusAccepted, answer
	}
	return http.StatusCreated, body
}

// begin reports whether something is done later.
func (b *Broker) begin(t *thing, op string, fault Fault) bool {
	if b.Polls == 0 && fault != Fails && fault != Hangs {
		return false
	}
	t.op, t.left, t.fails, t.hangs = op, b.Polls, fault == Fails, fault == Hangs
	return true
}

func (b *Broker) update(t *thing, plan string, info object, fault Fault) (int, object) {
	version, _ := info["version"].(string)
	switch {
	case t == nil || !t.exists:
		return http.StatusNotFound, object{"description": "no such instance"}
	case t.op != "" && t.op != "update":
		return http.StatusUnprocessableEntity, object{"error": "ConcurrencyError"}
	}
	if plan == "" {
		plan = t.plan
	}
	if version == "" {
		version = t.maintenance
	}
	if t.op == "" && !b.begin(t, "update", fault) {
		t.plan, t.maintenance = plan, version
		return http.StatusOK, object{}
	}
	t.next, t.nextMaintenance = plan, version
	return http.StatusAccepted, object{"operation": "update"}
}

func (b *Broker) remove(t *thing, op string, fault Fault) (int, object) {
	if t == nil || !t.exists {
		return http.StatusGone, object{}
	}
	if t.op == op {
		return http.StatusAccepted, object{"operation": op}
	}
	if b.begin(t, op, fault) { // it halts what is being done
		return http.StatusAccepted, object{"operation": op}
	}
	t.exists, t.op = false, ""
	return http.StatusOK, object{}
}

func (b *Broker) last(t *thing, operation string) (int, object) {
	if t == nil {
		return http.StatusNotFound, object{"description": "no such thing"}
	}
	if t.op != "" && operation != t.op {
		b.wrong = append(b.wrong, "last_operation: operation "+operation+" and not "+t.op)
	}
	deletes := operation == "deprovision" || operation == "unbind"
	switch {
	case t.op == "" && deletes && !t.exists:
		return http.StatusGone, object{}
	case t.op == "":
		return http.StatusOK, object{"state": "succeeded"}
	case t.hangs || t.left > 0:
		t.left--
		return http.StatusOK, object{"state": "in progress", "description": "half done"}
	case t.fails:
		t.op, t.fails = "", false
		return http.StatusOK, object{"state": "failed", "description": "the disk is full"}
	}
	if deletes {
		t.exists = false
	}
	if t.op == "update" {
		t.plan, t.maintenance = t.next, t.nextMaintenance
	}
	t.op = ""
	return http.StatusOK, object{"state": "succeeded"}
}
