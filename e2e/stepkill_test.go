package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// stepkill VICTIM VERB=N… kills a process while a verb changes the bindings of the app ledger, and proves that the change
// is wholly made or not at all, and that no account is left over. The verbs are bind, unbind, rebind, rotate and crossfade.
// The process is killed as micro is about to make something durable for the Nth time since the verb began: before and after
// each change of the state, and so before and after each command that makes or revokes an account.
//
// VICTIM is micro, shim:APP, container:SERVICE (the first process in it) or server:SERVICE (the database's main process).
// With MICRO_SOAK=1 every step is tried, from the first to the last that the verb has.
func stepkillCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: stepkill VICTIM VERB=N…")
	}
	client, err := api.New("unix://" + filepath.Join(ts.Getenv("MICRO_DATA"), "micro.sock"))
	ts.Check(err)
	p := &stepProof{ts: ts, client: client, victim: args[0]}
	for _, arg := range args[1:] {
		verb, step, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(step)
		ts.Check(err)
		if os.Getenv("MICRO_SOAK") == "" {
			if !p.kill(verb, n) {
				ts.Fatalf("%s has no step %d", verb, n)
			}
			continue
		}
		for n = 1; p.kill(verb, n); n++ {
		}
		ts.Logf("%s: %s was killed at each of %d steps", verb, p.victim, n-1)
	}
}

// stepProof has ledger bound to one of two databases as "main", and for some verbs to the other one too, as "extra".
type stepProof struct {
	ts     *testscript.TestScript
	client *api.Client
	victim string
}

var (
	stepServices = []cloud.AppName{"testdb", "proddb"}
	stepApp      = cloud.AppRef{Group: cloud.DefaultGroup, App: "ledger"}
)

// stepHost is the host that is cross-faded.
const stepHost = "www.micro.test"

// stepBindings are the users of the app at services, by the names of the bindings, with the service.
type stepBindings map[string]struct {
	service cloud.AppName
	user    string
}

func (b stepBindings) services() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		all = append(all, name+"="+string(b[name].service))
	}
	return strings.Join(all, " ")
}

// kill kills the victim at the nth step of a verb. It returns false if the verb has fewer steps: then nothing was killed.
func (p *stepProof) kill(verb string, n int) (killed bool) {
	p.prepare(verb)
	before := p.bindings()
	args, after := plan(verb, before)
	k := startKiller(p.ts, n, nodePID(p.ts), p.victimPID())
	var printed bytes.Buffer
	cmd := command(p.ts, &printed, append([]string{"micro"}, args...)...)
	p.ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	where := fmt.Sprintf("%s killed at step %d of %s", p.victim, n, verb)
	select {
	case <-k.ended:
	case <-ended:
		p.settle(where, k.ended)
	}
	k.stop()
	killed = k.steps >= n
	if killed && p.victim == "micro" {
		_ = cmd.Process.Kill() // it would wait for the node to come back
		p.ts.Check(p.ts.Exec("micro", "up", "--detach"))
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Minute):
		p.ts.Fatalf("%s: micro %s does not end", where, strings.Join(args, " "))
	}
	p.settle(where, nil)
	p.prove(where+"; it printed:\n"+printed.String(), before, after)
	return killed
}

// plan returns the command line of a verb, and the services that the app is bound to afterwards.
func plan(verb string, now stepBindings) (args []string, after string) {
	main := now["main"].service
	other := stepServices[(slices.Index(stepServices, main)+1)%2]
	switch verb {
	case "bind":
		return []string{"bind", "ledger", string(other), "--name", "extra", "--as", "EXTRA_URL"}, fmt.Sprintf("extra=%s main=%s", other, main)
	case "unbind":
		return []string{"unbind", "ledger", string(other)}, fmt.Sprintf("main=%s", main)
	case "rebind":
		return []string{"rebind", "ledger", "--from", string(main), "--to", string(other)}, fmt.Sprintf("main=%s", other)
	case "rotate":
		return []string{"rotate", "ledger", string(main)}, fmt.Sprintf("main=%s", main)
	case "crossfade":
		return []string{"crossfade", stepHost, "--to", "ledger", "--rebind", fmt.Sprintf("%s=%s", main, other), "--steps", "50,100", "--over", "1s", "--guard", "none"}, fmt.Sprintf("main=%s", other)
	}
	panic("unknown verb " + verb)
}

// prepare binds the app to as many services as a verb needs.
func (p *stepProof) prepare(verb string) {
	now := p.bindings()
	_, bound := now["extra"]
	fix := ""
	switch {
	case verb == "unbind" && !bound:
		fix = "bind"
	case verb != "unbind" && bound:
		fix = "unbind"
	default:
		return
	}
	args, _ := plan(fix, now)
	p.ts.Check(p.ts.Exec("micro", args...))
	p.settle("before "+verb, nil)
}

func (p *stepProof) bindings() stepBindings {
	b, err := p.client.Bindings(context.Background(), stepApp.Release(0))
	p.ts.Check(err)
	all := stepBindings{}
	for _, item := range b.Items {
		entry := all[item.Name]
		entry.service, entry.user = item.Service, item.User
		all[item.Name] = entry
	}
	return all
}

// settle waits until nothing is under way any more. It returns early when stop is closed.
func (p *stepProof) settle(where string, stop <-chan struct{}) {
	reason := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if reason = p.underWay(); reason == "" {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond): // a poll, with an end
		}
	}
	p.ts.Fatalf("%s: not settled: %s", where, reason)
}

// underWay says what is not settled yet, "" for nothing.
func (p *stepProof) underWay() string {
	ctx := context.Background()
	app, err := p.client.App(ctx, stepApp)
	if err != nil {
		return err.Error()
	}
	if app.Rollout != 0 || app.Ready != app.Instances {
		return fmt.Sprintf("r%d is rolled out, %d of %d instances are ready", app.Rollout, app.Ready, app.Instances)
	}
	instances, err := p.client.Instances(ctx, cloud.DefaultGroup, api.InstanceQuery{})
	if err != nil {
		return err.Error()
	}
	for _, i := range instances {
		if i.Phase != "ready" {
			return fmt.Sprintf("%s@r%d is %s", i.App, i.Release, i.Phase)
		}
	}
	routes, err := p.client.Routes(ctx, cloud.DefaultGroup)
	if err != nil {
		return err.Error()
	}
	for _, r := range routes {
		if r.Crossfade != nil {
			return "a cross-fade"
		}
	}
	for _, name := range stepServices {
		s, err := p.client.Service(ctx, cloud.AppRef{Group: cloud.DefaultGroup, App: name})
		if err != nil {
			return err.Error()
		}
		if s.Phase != "ready" {
			return fmt.Sprintf("service %s is %s", name, s.Phase)
		}
		for _, a := range s.Accounts {
			if a.Phase != "ready" || len(a.Releases) == 0 {
				return fmt.Sprintf("account %s at %s is %s, of releases %v", a.User, name, a.Phase, a.Releases)
			}
		}
	}
	return ""
}

// prove checks that the app is bound as before or as after, that it answers, and that the servers have the accounts of the
// State and no others.
func (p *stepProof) prove(where string, before stepBindings, after string) {
	now := p.bindings()
	if !maps.Equal(now, before) && now.services() != after {
		p.ts.Fatalf("%s\nledger is bound to %v; it was bound to %v, and was to be bound to %s", where, now, before, after)
	}
	p.answers(where, string(now["main"].service))
	for _, name := range stepServices {
		s, err := p.client.Service(context.Background(), cloud.AppRef{Group: cloud.DefaultGroup, App: name})
		p.ts.Check(err)
		var known []string
		for _, a := range s.Accounts {
			known = append(known, a.User)
		}
		slices.Sort(known)
		if roles := p.sql(name, "select rolname from pg_roles where rolname ~ '^ledger_'"); !slices.Equal(roles, known) {
			p.ts.Fatalf("%s\nthe accounts at %s are %v, and the State has %v", where, name, roles, known)
		}
		for _, user := range p.sql(name, "select distinct usename from pg_stat_activity where usename ~ '^ledger_'") {
			if !slices.Contains(known, user) {
				p.ts.Fatalf("%s\n%s has sessions at %s, and its account was revoked", where, user, name)
			}
		}
		for _, b := range now {
			if b.service == name && !slices.Contains(known, b.user) {
				p.ts.Fatalf("%s\nledger has no account at %s", where, name)
			}
		}
	}
}

// answers checks that the app answers at both of its addresses, from the database that it is bound to. A connection of the
// app that a killed database has ended costs a request.
func (p *stepProof) answers(where, service string) {
	for _, host := range []string{stepHost, "ledger.micro.test"} {
		said := ""
		for deadline := time.Now().Add(patience); !strings.HasPrefix(said, service+"."); time.Sleep(50 * time.Millisecond) { // a poll, with an end
			if time.Now().After(deadline) {
				p.ts.Fatalf("%s\n%s says %q, and the app is bound to %s", where, host, said, service)
			}
			req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+p.ts.Getenv("HTTP")+"/", nil)
			p.ts.Check(err)
			req.Host = host
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
			if err != nil {
				said = err.Error()
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			said = string(body)
		}
	}
}

func (p *stepProof) sql(service cloud.AppName, query string) []string {
	out, err := command(p.ts, nil, "micro", "exec", string(service), "--", "psql", "-U", "postgres", "-d", "app", "-Atc", query+" order by 1").Output()
	p.ts.Check(err)
	return strings.Fields(string(out))
}

// victimPID returns the process to kill.
func (p *stepProof) victimPID() int {
	kind, name, _ := strings.Cut(p.victim, ":")
	if kind == "micro" {
		return nodePID(p.ts)
	}
	instances, err := p.client.Instances(context.Background(), cloud.DefaultGroup, api.InstanceQuery{App: cloud.AppName(name)})
	p.ts.Check(err)
	i := slices.IndexFunc(instances, func(i api.Instance) bool { return i.ReleasePhase == cloud.PhaseCurrent && i.PID != 0 })
	if i < 0 {
		p.ts.Fatalf("no instance of %s runs", name)
	}
	pid := int(instances[i].PID)
	switch kind {
	case "shim":
		out, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
		p.ts.Check(err)
		shim, err := strconv.Atoi(strings.TrimSpace(string(out)))
		p.ts.Check(err)
		return shim
	case "container":
		return pid
	case "server":
		return serverPID(p.ts, pid)
	}
	p.ts.Fatalf("unknown victim %s", p.victim)
	return 0
}

// serverPID returns the main process of the database in a container whose first process is pid: the topmost that is called
// postgres.
func serverPID(ts *testscript.TestScript, pid int) int {
	queue := []int{pid}
	for len(queue) > 0 {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", queue[0]))
		if strings.TrimSpace(string(name)) == "postgres" {
			return queue[0]
		}
		queue = append(queue[1:], children(queue[0])...)
	}
	ts.Fatalf("no postgres runs below process %d", pid)
	return 0
}
