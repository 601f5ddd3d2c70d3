package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/protoduction/micro/api"
)

// bars are what must hold after any fault of a minority of the machines. make soak-nodes judges by them.
const (
	writesAgain   = 3 * time.Second  // others acknowledge changes again
	requestsAgain = 3 * time.Second  // no request through the others fails any more
	elsewhere     = 30 * time.Second // the others run what the lost machines ran
)

// briefSlack multiplies the bars in brief trials: these run beside all other tests, on a machine that may stand still for
// seconds. They are about what is lost, read wrongly or run twice, and about what never settles.
const briefSlack = 10

// settleTime is how long a cloud may take, after the end of a fault, until all is as before. A machine of two cores with
// five nodes and other work is slow.
const settleTime = 2 * time.Minute

// trial is a cloud under faults.
type trial struct {
	log      func(string, ...any)
	machines []*machine
	random   *rand.Rand
	brief    bool
	most     time.Duration // in which new faults begin; 0 for no bound
	slack    float64       // by which the bars are multiplied
	history  history
	clients  clients
	mark     string // in the environment of the app that must not run twice
	image    string // the archive that is pushed
	kinds    []faultKind
	leader   bool // only the node that leads fails

	mu     sync.Mutex
	faults []fault
	label  string // that is written and read now
	hosts  []string
}

// fault is one that was injected.
type fault struct {
	kind        string
	on          []*machine
	began, over time.Time // over: all was as before
	write       time.Duration
	moved       time.Duration // 0: did not last for so long
}

// faults [brief] COUNT [SEED] lets machines fail COUNT times, in an order that follows from SEED, while clients write, read
// and send requests, and while a release makes its way into production. Before, the machines must be one cloud with the
// apps web, with an instance for each machine, and solo, which must not run twice. It checks that no acknowledged write is
// lost, that the history is linearisable, that solo never runs twice, and how soon the others go on. In brief, faults are
// short, no release is made, and the others may go on ten times as late. FAULT_TIME bounds the time in which new faults
// begin, and FAULT_SLACK multiplies the bars. FAULT_KINDS has the kinds to choose from, and with FAULT_ON=leader only the node
// that leads fails.
func faultsCommand(ts *testscript.TestScript, neg bool, args []string) {
	brief := len(args) > 0 && args[0] == "brief"
	if brief {
		args = args[1:]
	}
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: faults [brief] COUNT [SEED]")
	}
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	seed := rand.Uint64()
	if len(args) == 2 && args[1] != "" {
		seed, err = strconv.ParseUint(args[1], 10, 64)
		ts.Check(err)
	}
	t := &trial{
		log: ts.Logf, brief: brief, machines: machinesOf(ts), random: rand.New(rand.NewPCG(seed, 0)), slack: 1,
		kinds: faultKinds, leader: os.Getenv("FAULT_ON") == "leader", history: history{began: time.Now()}, mark: "SOLO=" + ts.Getenv("MACHINES"), image: ts.MkAbs("hello.tar"), hosts: []string{"web.micro.test"},
	}
	if brief {
		t.slack = briefSlack
	}
	if s := os.Getenv("FAULT_SLACK"); s != "" {
		t.slack, err = strconv.ParseFloat(s, 64)
		ts.Check(err)
	}
	if s := os.Getenv("FAULT_KINDS"); s != "" {
		chosen := strings.Split(s, ",")
		t.kinds = slices.DeleteFunc(slices.Clone(faultKinds), func(k faultKind) bool { return !slices.Contains(chosen, k.name) })
	}
	if s := os.Getenv("FAULT_TIME"); s != "" {
		t.most, err = time.ParseDuration(s)
		ts.Check(err)
		t.log = func(format string, args ...any) { // who waits for so long wants to see how it goes
			ts.Logf(format, args...)
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		}
	}
	ts.Logf("%d faults with seed %d; to repeat their order: faults %d %d", count, seed, count, seed)
	ts.Check(t.run(count))
}

func (t *trial) run(count int) (err error) {
	began := time.Now()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var working sync.WaitGroup
	doubled := make(chan error, 1)
	working.Go(func() { doubled <- watchSingleton(ctx, t.mark) })
	for k, m := range t.machines {
		working.Go(func() { t.clients.work(ctx, m, t.currentHosts) })
		working.Go(func() { t.writeAndRead(ctx, k, m) })
	}
	story := newStory(t)
	for n := range count {
		if t.most > 0 && time.Since(began) > t.most {
			t.log("the time is up after %d of %d faults", n, count)
			count = n
			break
		}
		t.setLabel(n)
		if err = t.fail(ctx, n, story.next(n)); err != nil {
			err = fmt.Errorf("fault %d: %w", n+1, err)
			break
		}
	}
	stop()
	working.Wait()
	err = errors.Join(err, <-doubled)
	if err == nil {
		err = t.readAll(count)
	}
	if err != nil {
		for _, m := range t.machines {
			t.log("the end of the log of %s:\n%s", m.name(), m.logTail(40))
		}
	}
	t.log("%d faults in %v; %v", len(t.faults), time.Since(began).Round(time.Second), &t.history)
	return errors.Join(err, t.history.check(2*time.Minute), t.judge())
}

func labelOf(n int) string { return "f" + strconv.Itoa(n) }

// of returns the machine whose node has the label of a fault.
func (t *trial) of(n int) *machine { return t.machines[n%len(t.machines)] }

func (t *trial) setLabel(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.label = labelOf(n)
}

func (t *trial) currentHosts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hosts
}

func (t *trial) addHost(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hosts = append(slices.Clone(t.hosts), host)
}

func (t *trial) removeHost(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hosts = slices.DeleteFunc(slices.Clone(t.hosts), func(h string) bool { return h == host })
}

// writeAndRead writes and reads the present label by one machine until ctx ends.
func (t *trial) writeAndRead(ctx context.Context, client int, m *machine) {
	for n := 0; ctx.Err() == nil; n++ {
		t.mu.Lock()
		label := t.label
		t.mu.Unlock()
		if label != "" {
			k, _ := strconv.Atoi(label[1:])
			if n%2 == 0 {
				t.history.write(context.WithoutCancel(ctx), client, m, t.of(k), label, fmt.Sprintf("%d-%d", client, n))
			} else {
				t.history.read(context.WithoutCancel(ctx), client, m, t.of(k), label)
			}
		}
		pauseFor(ctx, 100*time.Millisecond)
	}
}

// readAll reads all labels through all machines, so that a write that was lost later is missed too.
func (t *trial) readAll(count int) error {
	until := time.Now().Add(settleTime)
	for n := range count {
		for k, m := range t.machines {
			for !t.history.read(context.Background(), k, m, t.of(n), labelOf(n)) {
				if time.Now().After(until) {
					return fmt.Errorf("node %s does not answer at the end", m.name())
				}
				pauseFor(context.Background(), 100*time.Millisecond)
			}
		}
	}
	return nil
}

// fail lets machines fail while a step of the story is done, and waits until all is as before.
func (t *trial) fail(ctx context.Context, n int, s chapter) error {
	kind := t.kinds[n%len(t.kinds)]
	if n >= len(t.kinds) { // the first ones are each of another kind
		kind = t.kinds[t.random.IntN(len(t.kinds))]
	}
	if s.do != nil {
		kind = faultKinds[t.random.IntN(2)] // the node is killed, or its power goes
	}
	on := t.choose(n)
	hold := time.Duration(t.random.Int64N(int64(kind.most)))
	if t.brief {
		hold /= 4
	}
	wait := kind.away && (n == 1 || n%8 == 7)
	f := fault{kind: kind.name, on: on}
	well := func(m *machine) bool { return !slices.Contains(on, m) }
	done := make(chan error, 1)
	if s.do != nil {
		asked := slices.DeleteFunc(slices.Clone(t.machines), func(m *machine) bool { return !well(m) })
		m := asked[t.random.IntN(len(asked))]
		go func() { done <- s.do(ctx, m) }()
		pauseFor(ctx, time.Duration(t.random.Int64N(int64(s.lasts))))
	} else {
		done <- nil
	}
	f.began = time.Now()
	t.add(f)
	var err error
	for _, m := range on {
		err = errors.Join(err, kind.inject(m))
	}
	if err == nil && wait {
		f.moved, err = t.awaitMoved(ctx, f.began, on)
	}
	if err == nil {
		f.write, err = t.awaitWrite(ctx, f.began, well)
	}
	pauseFor(ctx, time.Until(f.began.Add(hold)))
	told := <-done // a step may need the machines that are well, and no other
	for _, m := range on {
		err = errors.Join(err, kind.heal(ctx, m))
	}
	if told != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", s.name, told))
	}
	if err == nil {
		err = t.settle(ctx)
	}
	f.over = time.Now()
	t.mu.Lock()
	t.faults[len(t.faults)-1] = f
	t.mu.Unlock()
	t.log("%3d %-10s %v: writes again after %v%s%s, settled after %v", n+1, f.kind, names(on), f.write.Round(time.Millisecond),
		optional(f.moved > 0, ", all instances elsewhere after %v", f.moved.Round(10*time.Millisecond)), optional(s.do != nil, ", during %s", s.name), f.over.Sub(f.began).Round(10*time.Millisecond))
	return err
}

func optional(so bool, format string, arg any) string {
	if !so {
		return ""
	}
	return fmt.Sprintf(format, arg)
}

func names(on []*machine) string {
	var all []string
	for _, m := range on {
		all = append(all, string(m.name()))
	}
	return strings.Join(all, ",")
}

func (t *trial) add(f fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, f)
}

// choose returns the machines that are to fail: the one that leads, or any; of five, sometimes two.
func (t *trial) choose(n int) []*machine {
	order := t.random.Perm(len(t.machines))
	leads, two := t.random.IntN(3) == 0 || t.leader, t.random.IntN(4) == 0
	on := []*machine{t.machines[order[0]]}
	if leads {
		if m := leaderOf(context.Background(), t.machines); m != nil {
			on[0] = m
		}
	}
	if second := t.machines[order[1]]; two && len(t.machines) >= 5 && second != on[0] {
		on = append(on, second)
	}
	return on
}

// leaderOf returns the machine whose node leads; nil for none.
func leaderOf(ctx context.Context, all []*machine) *machine {
	for _, m := range all {
		var c api.Cluster
		if ask(ctx, m, "GET", "/v1/cluster", nil, &c) == nil && c.Leader != "" {
			if k := slices.IndexFunc(all, func(m *machine) bool { return m.name() == c.Leader }); k >= 0 {
				return all[k]
			}
		}
	}
	return nil
}

// awaitWrite waits for a write through a machine that is well.
func (t *trial) awaitWrite(ctx context.Context, began time.Time, well func(*machine) bool) (time.Duration, error) {
	for ctx.Err() == nil && time.Since(began) < settleTime {
		if d, ok := t.history.firstWrite(began, well); ok {
			return d, nil
		}
		pauseFor(ctx, 20*time.Millisecond)
	}
	return 0, fmt.Errorf("no write within %v", settleTime)
}

// awaitMoved waits until the other machines have all instances of the app web.
func (t *trial) awaitMoved(ctx context.Context, began time.Time, on []*machine) (time.Duration, error) {
	var last string
	for ctx.Err() == nil && time.Since(began) < settleTime {
		for _, m := range t.machines {
			if slices.Contains(on, m) {
				continue
			}
			var all []api.Instance
			out, err := m.on(ctx, "micro", "ps", "web", "--json")
			if err == nil {
				err = json.Unmarshal([]byte(out), &all)
			}
			ready := 0
			for _, i := range all {
				if i.Phase == "ready" && !slices.ContainsFunc(on, func(m *machine) bool { return m.name() == i.Node }) {
					ready++
				}
			}
			if last = out; err == nil && ready == len(t.machines) {
				return time.Since(began), nil
			}
			break
		}
		pauseFor(ctx, 100*time.Millisecond)
	}
	return 0, fmt.Errorf("the instances of %s are not elsewhere after %v: %s", names(on), settleTime, last)
}

// settle waits until all nodes are alive and voters, each says so, and each answers requests.
func (t *trial) settle(ctx context.Context) error {
	began := time.Now()
	var last string
	for ctx.Err() == nil && time.Since(began) < settleTime {
		if last = t.unsettled(ctx); last == "" {
			return nil
		}
		pauseFor(ctx, 100*time.Millisecond)
	}
	return fmt.Errorf("not as before after %v: %s", settleTime, last)
}

// unsettled returns what is not as before, "" for nothing.
func (t *trial) unsettled(ctx context.Context) string {
	for _, m := range t.machines {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		var c api.Cluster
		err := ask(asking, m, "GET", "/v1/cluster", nil, &c)
		if err == nil {
			_, err = request(asking, m, "web.micro.test")
		}
		cancel()
		if err != nil {
			return fmt.Sprintf("node %s: %v", m.name(), err)
		}
		for _, n := range c.Nodes {
			if n.Status != "alive" || n.Store != "voter" {
				return fmt.Sprintf("node %s says that %s is %s and %s", m.name(), n.Name, n.Status, n.Store)
			}
		}
		if !c.Writable || len(c.Nodes) != len(t.machines) {
			return fmt.Sprintf("node %s says: %s", m.name(), c.Text)
		}
	}
	return ""
}

// judge returns an error for each limit that was exceeded.
func (t *trial) judge() (err error) {
	limit := func(d time.Duration) time.Duration { return time.Duration(float64(d) * t.slack) }
	var writes, moves []time.Duration
	for n, f := range t.faults {
		if f.write > limit(writesAgain) {
			err = errors.Join(err, fmt.Errorf("fault %d, %s of %s: no write for %v", n+1, f.kind, names(f.on), f.write))
		}
		if f.moved > limit(elsewhere) {
			err = errors.Join(err, fmt.Errorf("fault %d, %s of %s: its instances were elsewhere after %v", n+1, f.kind, names(f.on), f.moved))
		}
		if writes = append(writes, f.write); f.moved > 0 {
			moves = append(moves, f.moved)
		}
	}
	early, late, last := 0, 0, time.Duration(0)
	for _, a := range t.clients.failed {
		switch n, kind := t.excuse(a, limit(requestsAgain)); kind {
		case "own": // the client's own machine was gone
		case "early":
			early++
			last = max(last, a.start.Sub(t.faults[n].began))
			t.log("a request through %s failed %v after fault %d: %v", a.m.name(), a.end.Sub(t.faults[n].began).Round(time.Millisecond), n+1, a.err)
		default:
			if late++; late <= 10 {
				err = errors.Join(err, fmt.Errorf("a request to %s through %s failed at %v, after fault %d, from %v to %v after it: %w", a.host, a.m.name(), a.end.Sub(t.history.began), n+1,
					a.start.Sub(t.faults[max(n, 0)].began).Round(time.Millisecond), a.end.Sub(t.faults[max(n, 0)].began).Round(time.Millisecond), a.err))
			}
		}
	}
	t.log("writes again after a fault: %s (bar %v, judged at %v)", spreadOf(writes), writesAgain, limit(writesAgain))
	t.log("instances elsewhere: %s (bar %v, judged at %v)", spreadOf(moves), elsewhere, limit(elsewhere))
	t.log("%d requests: through machines that were well %d failed within %v of a fault, and %d later; the last of them began %v after a fault (bar %v, judged at %v)",
		t.clients.sent, early, limit(requestsAgain), late, last.Round(time.Millisecond), requestsAgain, limit(requestsAgain))
	return err
}

// excuse returns the fault before an answer, and why the answer may be an error: "own" of a client of the lost machine,
// "early" for one that was sent just before or after the fault; "" for no reason.
func (t *trial) excuse(a answer, limit time.Duration) (int, string) {
	last := -1
	for n, f := range t.faults {
		if a.end.Before(f.began) {
			break
		}
		last = n
		if over := f.over; slices.Contains(f.on, a.m) && f.began.Before(a.end) && (over.IsZero() || a.start.Before(over)) {
			return n, "own"
		}
	}
	if last >= 0 && a.start.Before(t.faults[last].began.Add(limit)) {
		return last, "early"
	}
	return last, ""
}

func spreadOf(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(part float64) time.Duration {
		return all[int(part*float64(len(all)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("median %v, 95 %% within %v, worst %v, of %d", at(0.5), at(0.95), at(1), len(all))
}
