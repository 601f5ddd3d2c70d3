package e2e

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/protoduction/micro/services/broker/brokertest"
)

// brokers are the Open Service Brokers of scripts, by their data folders.
var brokers sync.Map

// broker start begins an Open Service Broker for the user micro with the password "broker secret", whose URL is in the variable
// BROKER. broker polls N has it say N times that it is still at work. broker fail KIND FAULT… has its next requests of a kind
// fail (see package brokertest). broker offers VERSION has its plans be of another maintenance version, and its bindings have successors. broker made WHAT… fails
// if it has not made that (see brokertest.Broker.Made). broker has N M waits until it has N instances and M bindings, and fails where it ever got a
// request that the specification does not allow.
func brokerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: broker start | polls N | fail KIND FAULT… | offers VERSION | made WHAT… | has INSTANCES BINDINGS")
	}
	key := ts.Getenv("MICRO_DATA")
	if args[0] == "start" {
		b := &brokertest.Broker{Username: "micro", Password: "broker secret", Delay: time.Minute}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		server := &http.Server{Handler: b}
		go func() { _ = server.Serve(l) }()
		ts.Defer(func() { server.Close() })
		ts.Setenv("BROKER", "http://"+l.Addr().String())
		brokers.Store(key, b)
		return
	}
	v, ok := brokers.Load(key)
	if !ok {
		ts.Fatalf("no broker runs")
	}
	b := v.(*brokertest.Broker)
	number := func(i int) int {
		if len(args) <= i {
			ts.Fatalf("a number is missing")
		}
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		return n
	}
	switch args[0] {
	case "polls":
		b.SetPolls(number(1))
	case "fail":
		for _, fault := range args[2:] {
			b.Fail(args[1], brokertest.Fault(fault))
		}
	case "offers":
		b.SetMaintenance(args[1], true)
	case "made":
		if want := strings.Join(args[1:], " "); strings.Join(b.Made(), ", ") != want {
			ts.Fatalf("the broker has made %q, want %q", strings.Join(b.Made(), ", "), want)
		}
	case "has":
		instances, bindings := number(1), number(2)
		for deadline := time.Now().Add(patience); b.Instances() != instances || b.Bindings() != bindings; time.Sleep(50 * time.Millisecond) { // a poll, with an end
			if time.Now().After(deadline) {
				ts.Fatalf("the broker has %d instances and %d bindings, after requests %v", b.Instances(), b.Bindings(), b.Requests())
			}
		}
		if wrong := b.Wrong(); len(wrong) > 0 {
			ts.Fatalf("requests that the specification does not allow: %v", wrong)
		}
	default:
		ts.Fatalf("unknown: %s", args[0])
	}
}
