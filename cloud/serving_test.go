package cloud

import (
	"strings"
	"testing"
)

const next Host = "next.example.com"

// published is an app with a public host, a release that was staged beside it, and a host for that.
func published(t *testing.T) *story {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, Public: true}, ann))
	y.do(y.s.Map(Map{Host: next, Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
	return y
}

func (y *story) asks(changes []Change, err error, part, command string) {
	y.Helper()
	y.refuses(changes, err, Conflict, part)
	if got := strings.Join(CommandOf(err), " "); got != command {
		y.Errorf("the command is %q, want %q", got, command)
	}
}

func TestStopAsksForAPublicHost(t *testing.T) {
	y := published(t)
	changes, err := y.s.Stop(shop.Release(0), false)
	y.asks(changes, err, "nothing else serves the public host www.example.com", "micro stop shop --yes")
	changes, err = y.s.Stop(shop.Release(1), false)
	y.asks(changes, err, "www.example.com", "micro stop shop@r1 --yes")
	y.do(y.s.Stop(shop.Release(2), false)) // of an internal host
	y.do(y.s.Start(shop.Release(2), ann))
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
	y.do(y.s.Stop(shop.Release(1), false)) // another serves the host
	changes, err = y.s.Stop(shop.Release(2), false)
	y.asks(changes, err, "www.example.com", "micro stop shop@r2 --yes")
	y.do(y.s.Stop(shop.Release(2), true))
	y.do(y.s.Stop(shop.Release(2), false)) // it is silent already
}

// A path of its own can be silenced beside others that go on.
func TestStopAsksForAPath(t *testing.T) {
	y := published(t)
	y.pushed(blog, PushSpec{})
	y.do(y.s.Map(Map{Host: www, Path: "/blog", Target: Target{ReleaseRef: blog.Release(0)}}, ann))
	changes, err := y.s.Stop(blog.Release(0), false)
	y.asks(changes, err, "www.example.com/blog, which would answer 503", "micro stop blog --yes")
	y.do(y.s.Stop(blog.Release(0), true))
	y.do(y.s.Stop(blog.Release(0), false))
	changes, err = y.s.Stop(shop.Release(0), false)
	y.asks(changes, err, "www.example.com, which", "micro stop shop --yes")
}

func TestScaleToNothingAsks(t *testing.T) {
	y := published(t)
	none := map[ProcessName]ProcessSpec{Web: {Instances: new(0)}}
	changes, err := y.s.Scale(shop.Release(0), none, false)
	y.asks(changes, err, "www.example.com, which would answer 503", "micro scale shop -i 0 --yes")
	changes, err = y.s.Scale(shop.Release(1), none, false)
	y.asks(changes, err, "www.example.com", "micro scale shop@r1 -i 0 --yes")
	y.do(y.s.Scale(shop.Release(2), none, false))
	y.do(y.s.Scale(shop.Release(0), none, true))
	changes, err = y.s.Traffic(next, "/", map[ReleaseRef]int{shop.Release(2): 1})
	y.do(changes, err) // nothing answered there before
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(1)}}, false))
	changes, err = y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(2): 1})
	y.asks(changes, err, "shop@r2 does not run", "micro scale shop@r2 -i 1")
}

func TestSwapWithWhatDoesNotRun(t *testing.T) {
	y := published(t)
	y.do(y.s.Stop(shop.Release(2), false))
	changes, err := y.s.Swap(www, next, false)
	y.asks(changes, err, "shop@r2 does not run: www.example.com would answer 503", "micro start shop@r2")
	changes, err = y.s.Swap(next, www, false)
	y.asks(changes, err, "shop@r2 does not run", "micro start shop@r2")
	y.do(y.s.Start(shop.Release(2), ann))
	y.do(y.s.Swap(www, next, false))
	y.route(www, "/", "shop@r2")

	// What is out of order may be put in order.
	y.do(y.s.Stop(shop.Release(2), true))
	changes, err = y.s.Swap(www, next, false)
	y.asks(changes, err, "next.example.com would answer 503", "micro start shop@r2")
	y.do(y.s.Swap(www, next, true))
	y.route(www, "/", "shop")

	// A host without routes takes none away.
	y.do(y.s.Map(Map{Host: "empty.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.s.Unmap("empty.example.com", "/", shop.Release(0), true))
	changes, err = y.s.Swap(www, "empty.example.com", false)
	y.asks(changes, err, "www.example.com would have no target", "micro swap www.example.com empty.example.com --yes")
	y.do(y.s.Swap(www, "empty.example.com", true))
	y.route(www, "/", "nowhere")
}

func TestTrafficToAStoppedApp(t *testing.T) {
	y := published(t)
	y.pushed(blog, PushSpec{})
	y.do(y.s.Stop(blog.Release(0), false))
	changes, err := y.s.Traffic(www, "/", map[ReleaseRef]int{blog.Release(0): 1, shop.Release(0): 0})
	y.asks(changes, err, "would answer 503", "micro start blog")
	y.do(y.s.Traffic(www, "/", map[ReleaseRef]int{blog.Release(0): 1, shop.Release(0): 1}))
}

func TestOverlapFalse(t *testing.T) {
	alone := PushSpec{Overlap: new(false)}
	for _, c := range []struct {
		name           string
		current, other PushSpec
		refused        bool
	}{
		{"both may", PushSpec{}, PushSpec{Overlap: new(true)}, false},
		{"the current one may not", alone, PushSpec{Overlap: new(true)}, true},
		{"the other may not", PushSpec{}, alone, true},
		{"neither may", alone, alone, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := begin(t)
			y.pushed(shop, c.current)
			y.staged(shop, c.other)
			y.pushed(blog, alone)
			y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
			y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: blog.Release(0)}}, ann)) // another app
			try := func(changes []Change, err error) {
				t.Helper()
				if c.refused {
					y.asks(changes, err, "must not serve side by side (overlap: false)", "micro cutover www.example.com --to shop@r2")
				} else if err != nil {
					t.Error(err)
				}
			}
			try(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
			try(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(2), Weighted: true, Weight: 10}}, ann))
			try(y.s.Map(Map{Host: www, Path: "/api", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
			try(y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(0): 95, shop.Release(2): 5}))
			y.do(y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(0): 0, shop.Release(2): 5}))
			y.route(www, "/", "shop 0, shop@r2 5")
		})
	}
}

// What an older micro let happen can be brought to an end by degrees.
func TestOverlapFalseAlready(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{Overlap: new(false)})
	y.staged(shop, PushSpec{})
	y.do([]Change{Put(&VirtualHost{Host: www, Group: DefaultGroup, Routes: []Route{{Path: "/", Targets: []Target{{ReleaseRef: shop.Release(0)}, {ReleaseRef: shop.Release(2)}}}}})}, nil)
	y.do(y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(0): 5, shop.Release(2): 95}))
	y.do(y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(0): 0, shop.Release(2): 95}))
}

// A staged release to which a host leads is not one that is reached at its own address alone.
func TestRoutedNotStaged(t *testing.T) {
	y := published(t)
	y.phases(shop, "r1 current, r2 routed")
	y.do(y.s.Unmap(next, "/", shop.Release(2), true))
	y.phases(shop, "r1 current, r2 staged")
}

func TestMemoryThatNoMachineHas(t *testing.T) {
	y := begin(t)
	big := func(memory int64) PushSpec {
		return PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Memory: &memory}}}
	}
	const machine = 24<<30 - 500<<20 // what the kernel leaves of 24 GiB
	y.pushed(shop, big(40<<30))      // nothing is known of machines yet
	y.do([]Change{Put(&Node{Name: "n1"}), Put(&Node{Name: "n2"})}, nil)
	y.do(y.s.Measure("n1", Capacity{Memory: machine, CPU: 2000}), nil)
	y.pushed(blog, big(40<<30)) // one of them may be larger
	y.do(y.s.Measure("n2", Capacity{Memory: 4 << 30}), nil)
	if again := y.s.Measure("n2", Capacity{Memory: 4 << 30}); again != nil {
		t.Error("what is known is written again")
	}
	_, _, err := y.s.Push(Push{App: AppRef{DefaultGroup, "new"}, Spec: big(40 << 30)}, ann)
	if CodeOf(err) != Invalid || !strings.Contains(err.Error(), "process web: no machine of this cloud has 40G of memory, the largest has 23.5G") {
		t.Errorf("got %v", err)
	}
	changes, err := y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Memory: new(int64(machine + 1))}}, false)
	if CodeOf(err) != Invalid || changes != nil || HintOf(err) == "" {
		t.Errorf("got %v, %v", changes, err)
	}
	// What is so already stays, in a new release too.
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(2)}}, false))
	y.pushed(shop, PushSpec{})
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Memory: new(int64(machine))}}, false))
}
