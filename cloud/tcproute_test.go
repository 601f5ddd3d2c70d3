package cloud

import "testing"

func TestParseRouteHost(t *testing.T) {
	for text, want := range map[string]Host{
		"tcp:5433": "tcp:5433", "tcp:1": "tcp:1", "tcp:65535": "tcp:65535", "Shop.Test": "shop.test",
		"tcp:0": "", "tcp:65536": "", "tcp:": "", "tcp:05433": "", "tcp:+1": "", "tcp:1x": "", "TCP:1": "", "udp:53": "", "shop.test:80": "",
	} {
		got, err := ParseRouteHost(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if Host("www.example.com").Port() != 0 || Host("tcp:5433").Port() != 5433 {
		t.Error("ports of hosts")
	}
}

// TestMapPort: a port is mapped as a host is, and asks for nothing that needs a look at requests.
func TestMapPort(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	y.do(y.s.FinishRollout(shop, noon, ann), nil)
	on := true
	m := Map{Host: "tcp:5433", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, ProxyProtocol: &on, Public: true}
	y.do(y.s.Map(m, ann))
	vhost, _ := y.s.VirtualHost("tcp:5433")
	if !vhost.PassesBytes() || vhost.WantsCertificate() || !vhost.Routes[0].ProxyProtocol {
		t.Errorf("mapped as %+v", vhost)
	}
	changes, err := y.s.Unmap("tcp:5433", "/", shop.Release(0), false)
	y.refuses(changes, err, Conflict, "tcp:5433, which would take no more connections")
	for name, ask := range map[string]func(m *Map){
		"a path":        func(m *Map) { m.Path = "/api" },
		"a cookie":      func(m *Map) { m.Sticky = &Sticky{By: StickyCookie} },
		"headers":       func(m *Map) { m.Headers = &on },
		"TLS":           func(m *Map) { m.TLS.Only = &on },
		"a log-in":      func(m *Map) { m.Login.Required = &on },
		"a passthrough": func(m *Map) { m.Passthrough = &on },
		"for a name":    func(m *Map) { m.Host = "www.example.com" },
	} {
		n := m
		ask(&n)
		if _, err := y.s.Map(n, ann); CodeOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := y.s.SetMirror("tcp:5433", "/", shop.Release(1), 10); CodeOf(err) != Invalid {
		t.Errorf("a mirror: %v", err)
	}
	if _, err := y.s.SetRule("tcp:5433", "/", Rule{When: Condition{By: WhenHeader, Name: "x"}, To: shop.Release(1)}); CodeOf(err) != Invalid {
		t.Errorf("a rule by a header: %v", err)
	}
	// A name whose TLS is the app's has no certificate here, and is no other route's any more.
	n := m
	n.Host, n.Passthrough = "mq.example.com", &on
	y.do(y.s.Map(n, ann))
	if vhost, _ := y.s.VirtualHost("mq.example.com"); vhost.WantsCertificate() {
		t.Error("a certificate is ordered for a host whose TLS is the app's")
	}
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, Headers: &on}, ann))
	if _, err := y.s.Swap("tcp:5433", "www.example.com", true); CodeOf(err) != Invalid {
		t.Errorf("a swap with a host that names its releases: %v", err)
	}
}
