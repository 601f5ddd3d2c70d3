package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

const heldHost = cloud.Host("www.example.com")

// heldFront is a router with an app behind a host, which can be held.
type heldFront struct{ *front }

func newHeld(t *testing.T) heldFront {
	f := heldFront{newFront(t, Config{})}
	f.world.app("shop", 1, 1)
	f.world.app("next", 1, 1)
	for _, app := range []string{"shop", "next"} {
		f.world.up(app, 1, backend(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(append([]byte(app+" "), b...))
		}))
	}
	f.put("shop", nil)
	return f
}

func (f heldFront) put(target string, h *cloud.HostHold) {
	vhost := &cloud.VirtualHost{Host: heldHost, Group: cloud.DefaultGroup, Hold: h}
	f.world.put(vhost.With(cloud.Route{Path: "/", Targets: parseTargets(f.t, []string{target})}))
	f.swap()
}

// TestParking: requests that come while a host is held wait, and then go on in order, to wherever the host leads by then.
func TestParking(t *testing.T) {
	f := newHeld(t)
	open := dial(t, f.addr)
	if _, got := open.send(get("/", string(heldHost))).answer("GET"); got != "shop " {
		t.Fatal(got)
	}
	f.seen.next(t)
	f.put("shop", &cloud.HostHold{ID: "1", Until: time.Now().Add(time.Minute)})
	peers := []*peer{open}
	for len(peers) < 20 {
		peers = append(peers, dial(t, f.addr))
	}
	for i, p := range peers {
		p.send(request("POST", fmt.Sprint("/", i), string(heldHost), "Content-Length: 5") + "hello")
		eventually(t, func() bool { return f.Parked(heldHost, "1").Left == i+1 })
	}
	// Other hosts, and the app's own address, are not held.
	if _, got := dial(t, f.addr).send(get("/", shopHost)).answer("GET"); got != "shop " {
		t.Errorf("its own address: %q", got)
	}
	f.seen.next(t)
	// The command moves the host, under the hold.
	f.put("next", &cloud.HostHold{ID: "1", Until: time.Now().Add(time.Minute)})
	if left := f.Parked(heldHost, "1").Left; left != 20 {
		t.Errorf("%d wait after another change", left)
	}
	f.put("next", nil)
	for i, p := range peers {
		if res, got := p.answer("POST"); res.StatusCode != 200 || got != "next hello" {
			t.Errorf("%d: %d %q", i, res.StatusCode, got)
		}
	}
	nth := map[string]uint64{}
	for range peers {
		x := f.seen.next(t)
		if x.Held == 0 || x.Error != "" {
			t.Errorf("%s was held %v, %s", x.Target, x.Held, x.Error)
		}
		nth[string(x.Target)] = x.Nth
	}
	for i := range peers {
		if n := nth[fmt.Sprint("/", i)]; n != uint64(i+1) {
			t.Errorf("request %d went on as number %d", i+1, n)
		}
	}
	if p := f.Parked(heldHost, "1"); p.Waited != 20 || p.Longest == 0 || p.Refused+p.Late != 0 || p.Left != 0 {
		t.Errorf("%+v", p)
	}
	if p := f.Parked(heldHost, "0"); p != (Parked{}) {
		t.Errorf("of another hold: %+v", p)
	}
}

// TestParkingEnds: past the hold's time requests that waited get 503, and new ones pass, although nobody has ended the hold.
func TestParkingEnds(t *testing.T) {
	f := newHeld(t)
	f.put("shop", &cloud.HostHold{ID: "1", Until: time.Now().Add(300 * time.Millisecond)})
	begun := time.Now()
	res, _ := dial(t, f.addr).send(get("/", string(heldHost))).answer("GET")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("X-Micro-Error") != "held" || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("%d %v after %v", res.StatusCode, res.Header, time.Since(begun))
	}
	if res, got := dial(t, f.addr).send(get("/", string(heldHost))).answer("GET"); got != "shop " {
		t.Errorf("past its time: %d", res.StatusCode)
	}
	if p := f.Parked(heldHost, "1"); p.Waited != 1 || p.Late != 1 {
		t.Errorf("%+v", p)
	}
	// There is an end to how many wait, clients that go leave, and a shutdown waits for nobody.
	f.put("shop", &cloud.HostHold{ID: "2", Until: time.Now().Add(time.Minute)})
	gone := dial(t, f.addr).send(get("/", string(heldHost)))
	eventually(t, func() bool { return f.Parked(heldHost, "2").Left == 1 })
	reset(gone.Conn.(*net.TCPConn))
	eventually(t, func() bool { return f.Parked(heldHost, "2").Left == 0 })
	v, _ := f.Table().internal.lookup(string(heldHost))
	v.parking.lot.enter(maxParkedBytes, false)
	if res, _ := dial(t, f.addr).send(get("/", string(heldHost))).answer("GET"); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d where there is no room", res.StatusCode)
	}
	if p := f.Parked(heldHost, "2"); p.Refused != 1 {
		t.Errorf("%+v", p)
	}
}
