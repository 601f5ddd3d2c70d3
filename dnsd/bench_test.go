package dnsd

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/protoduction/micro/cloud"
)

// bigView returns a view with many apps, each with one running release.
func bigView(apps int) cloud.View {
	v := cloud.NewView()
	var changes []cloud.Change
	for i := range apps {
		a := app("default", fmt.Sprintf("app-%06d", i), 1)
		changes = append(changes, cloud.Put(a), cloud.Put(release(a, 1)))
	}
	v.State = v.State.Apply(1, changes)
	return v
}

func parseQuery(t testing.TB, name string, qtype uint16) *Query {
	wire, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := &Query{}
	q.Parse(wire)
	return q
}

func BenchmarkAnswer(b *testing.B) {
	for _, apps := range []int{10, 100_000} {
		z := compileZone(b, bigView(apps))
		for _, name := range []string{"app-%06d.micro.test.", "nope-%06d.micro.test."} {
			queries := make([]*Query, 1000)
			for i := range queries {
				queries[i] = parseQuery(b, fmt.Sprintf(name, i*7919%apps), dns.TypeA)
			}
			b.Run(fmt.Sprintf("%d/%.4s", apps, name), func(b *testing.B) {
				b.ReportAllocs()
				room := make([]byte, maxUDP)
				i := 0
				for b.Loop() {
					q := queries[i%len(queries)]
					i++
					q.Parse(q.msg)
					if _, ours := z.Answer(room[:0], q, loopback); !ours {
						b.Fatal("not ours")
					}
				}
			})
		}
	}
}

// BenchmarkCompile measures a change of one app of many.
func BenchmarkCompile(b *testing.B) {
	for _, apps := range []int{10, 100_000} {
		old := bigView(apps)
		z := compileZone(b, old)
		v := old
		v.State = v.State.Apply(2, []cloud.Change{cloud.Put(app("default", "fresh", 0))})
		b.Run(fmt.Sprint(apps), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Compile(z, old, v).Names() != z.Names()+1 {
					b.Fatal("a name is missing")
				}
			}
		})
	}
}

// TestAllocations checks that plain answers allocate nothing.
func TestAllocations(t *testing.T) {
	z := compileZone(t, shopView())
	room := make([]byte, maxUDP)
	f := func(name string, qtype uint16, v View, most float64) {
		t.Helper()
		q := parseQuery(t, name, qtype)
		if n := testing.AllocsPerRun(100, func() {
			q.Parse(q.msg)
			z.Answer(room[:0], q, v)
		}); n > most {
			t.Errorf("%s %d: %v allocations, at most %v", name, qtype, n, most)
		}
	}
	f("shop.micro.test.", dns.TypeA, loopback, 0)
	f("shop.micro.test.", dns.TypeAAAA, loopback, 0)
	f("shop.default.internal.", dns.TypeA, inGroup, 0)
	f("shop.micro.test.", dns.TypeA, outside, 0)
	f("nope.micro.test.", dns.TypeA, loopback, 2)
}
