package cloud

import (
	"strings"
	"testing"
	"time"
)

func TestAppName(t *testing.T) {
	for _, good := range []AppName{"a", "shop", "shop-2", "0", "a--b", AppName(strings.Repeat("a", 40)), "shop-2026112-r7", "shop-20261122-r", "r7"} {
		if err := good.Validate(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, part := range map[AppName]string{
		"": "empty", "Shop": "invalid", "-a": "invalid", "a-": "invalid", "a.b": "invalid", "a_b": "invalid",
		"sh\u00f6p": "invalid", "a\nb": "invalid", "a\n": "invalid", AppName(strings.Repeat("a", 41)): "41 characters",
		"shop-20261122-r7": "ends like", "x-00000000-r0": "ends like", "api": "reserved", "registry": "reserved",
	} {
		if err := bad.Validate(); CodeOf(err) != Invalid || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", bad, err, part)
		}
	}
	for in, want := range map[string]string{"My Shop!": "my-shop", "!!!": "my-app", "-a-": "a", strings.Repeat("A", 50): strings.Repeat("a", 40)} {
		if got := suggestLabel(in); got != want || AppName(got).Validate() != nil {
			t.Errorf("suggests %q for %q", got, in)
		}
	}
}

// An address of a release never is an app's, and always a label of at most 63 bytes.
func TestReleaseAddress(t *testing.T) {
	at := time.Date(2026, 11, 22, 23, 30, 0, 0, time.FixedZone("x", -3600))
	d := Domain("micro.test")
	if got := d.Release(shop.Release(7), at); got != "shop-20261123-r7.micro.test" {
		t.Error(got)
	}
	qa := AppRef{"qa", AppName(strings.Repeat("a", maxName))}
	host := d.Release(qa.Release(99_999_999), at)
	if label, rest, _ := strings.Cut(string(host), "."); len(label) > 63 || AppName(label).Validate() == nil || rest != "qa.micro.test" {
		t.Error(host)
	}
	if d.App(shop) != "shop.micro.test" || d.API() != "api.micro.test" || !d.Contains("a.b.micro.test") || !d.Contains("micro.test") || d.Contains("xmicro.test") {
		t.Error("addresses of the domain")
	}
	for name, ok := range map[Domain]bool{"micro.test": true, "a.b.c": true, "micro": false, "": false, "Micro.test": false, "*.micro.test": false, "micro.test.": false, "a..b": false} {
		if err := name.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]Host{
		"www.Example.com": "www.example.com", " shop.test. ": "shop.test", "*.example.com": "*.example.com", "_acme.example.com": "_acme.example.com", "localhost": "localhost",
		"bücher.example": "xn--bcher-kva.example", "BÜCHER.Example.": "xn--bcher-kva.example", "*.bücher.example": "*.xn--bcher-kva.example",
		"faß.de": "xn--fa-hia.de", "例え。テスト": "xn--r8jz45g.xn--zckzah", "xn--bcher-kva.example": "xn--bcher-kva.example", "bu\u0308cher.example": "xn--bcher-kva.example",
	} {
		if got, err := ParseHost(in); got != want || err != nil {
			t.Errorf("%q is %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ".", "a..b", "*.com", "a.*.com", "www.example.com:80", "http://a.b", "a/b.com", "_a/b.com", "_.com", "a b.com", "-a.com", "bü cher.example", "büch/er.example", "ü:80", "\u200dx.example", "*.ü", "\xff.example", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 130) + "com", "[::1]"} {
		if got, err := ParseHost(in); CodeOf(err) != Invalid {
			t.Errorf("%q is accepted as %q", in, got)
		}
	}
}

// TestUnicode: a host is shown in its own letters beside its name in DNS.
func TestUnicode(t *testing.T) {
	for host, want := range map[Host]string{
		"xn--bcher-kva.example": "bücher.example", "*.xn--bcher-kva.example": "*.bücher.example", "a.xn--r8jz45g.xn--zckzah": "a.例え.テスト",
		"www.example.com": "", "xn--.example": "", "xn--a.example": "", "xn--bcher-kva.xn--": "",
	} {
		if got := host.Unicode(); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
	if got := Host("xn--bcher-kva.example").Shown(); got != "xn--bcher-kva.example (bücher.example)" {
		t.Errorf("got %q", got)
	}
}

func TestParseRef(t *testing.T) {
	for in, want := range map[string]ReleaseRef{
		"shop": shop.Release(0), "shop@r7": shop.Release(7), "shop@7": shop.Release(7),
		"qa/shop": AppRef{"qa", "shop"}.Release(0), "qa/shop@r12": AppRef{"qa", "shop"}.Release(12), "default/shop": shop.Release(0),
	} {
		got, err := ParseRef(in, DefaultGroup)
		if got != want || err != nil {
			t.Errorf("%q is %v, %v", in, got, err)
		}
		if back, err := ParseRef(got.String(), DefaultGroup); back != got || err != nil {
			t.Errorf("%q came back as %v, %v", got.String(), back, err)
		}
	}
	for _, in := range []string{"", "@r7", "shop@", "shop@r0", "shop@r-1", "shop@rr7", "shop@r+7", "shop@r07", "shop@r7@r8", "a/b/c", "/shop", "qa/", "Shop", "shop@latest", "shop@r99999999999999999999"} {
		if got, err := ParseRef(in, DefaultGroup); CodeOf(err) != Invalid {
			t.Errorf("%q is accepted as %v", in, got)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{"512M": 512 << 20, "1g": 1 << 30, "1.5GB": 3 << 29, " 64 k ": 64 << 10, "7b": 7, "0M": 0, "2T": 2 << 40} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("%q is %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "M", "12", "-1M", "infM", "nanG", "1e30T", "1M2"} {
		if got, err := ParseSize(in); CodeOf(err) != Invalid {
			t.Errorf("%q is accepted as %d", in, got)
		}
	}
	for _, n := range []int64{0, 1, 1 << 10, 3 << 20, 512 << 20, 1 << 30, 1 << 40, 1536} {
		if back, err := ParseSize(FormatSize(n)); n%(1<<10) == 0 && back != n || err != nil {
			t.Errorf("%d is written %s and read %d", n, FormatSize(n), back)
		}
	}
}
