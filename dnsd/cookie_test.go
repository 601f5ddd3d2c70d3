package dnsd

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSipHash checks the first test vectors of SipHash's authors: key and message are the bytes 0, 1, 2, ….
func TestSipHash(t *testing.T) {
	var key [16]byte
	var msg []byte
	for i := range key {
		key[i] = byte(i)
	}
	for n, want := range []string{
		"310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785", "b7877127e09427cf",
		"8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab", "6224939a79f5f593", "b0e4a90bdf82009e",
	} {
		got := binary.LittleEndian.AppendUint64(nil, sipHash24(key, msg))
		if hex.EncodeToString(got) != want {
			t.Errorf("%d bytes: %x, want %s", n, got, want)
		}
		msg = append(msg, byte(n))
	}
}

// TestCookies checks the examples of RFC 9018, appendix A.
func TestCookies(t *testing.T) {
	c := &cookies{secret: [16]byte(unhex(t, "e5e973e5a6b2a43f48e7dc849e37bfcf"))}
	client, addr := unhex(t, "2464c4abcf10c957"), netip.MustParseAddr("198.51.100.100")
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	first := c.issue(nil, client, addr, at(1559731985))
	if got := hex.EncodeToString(first); got != "010000005cf79f111f8130c3eee29480" {
		t.Errorf("a first cookie: %s", got)
	}
	valid := func(server []byte, client []byte, addr string, now int64, want bool) {
		t.Helper()
		if got := c.valid(server, client, netip.MustParseAddr(addr), at(now)); got != want {
			t.Errorf("%x of %s at %d: valid %v, want %v", server, addr, now, got, want)
		}
	}
	valid(first, client, "198.51.100.100", 1559731985, true)
	valid(first, client, "::ffff:198.51.100.100", 1559731985+3600, true)
	valid(first, client, "198.51.100.100", 1559731985+3601, false)
	valid(first, client, "198.51.100.100", 1559731985-300, true)
	valid(first, client, "198.51.100.100", 1559731985-301, false)
	valid(first, client, "198.51.100.101", 1559731985, false)
	valid(first, unhex(t, "2464c4abcf10c958"), "198.51.100.100", 1559731985, false)
	valid(first[:8], client, "198.51.100.100", 1559731985, false)
	valid(nil, client, "198.51.100.100", 1559731985, false)
	// Reserved bytes count, whoever set them.
	valid(unhex(t, "01abcdef5cf78f71a314227b6679ebf5"), unhex(t, "fc93fc62807ddb86"), "203.0.113.203", 1559727985, true)
	six := &cookies{secret: [16]byte(unhex(t, "445536bcd2513298075a5d379663c962"))}
	if got := hex.EncodeToString(six.issue(nil, unhex(t, "22681ab97d52c298"), netip.MustParseAddr("2001:db8:220:1:59de:d0f4:8769:82b8"), at(1559741961))); got != "010000005cf7c609a6bb79d16625507a" {
		t.Errorf("a client by IPv6: %s", got)
	}
}

// TestCookieExchange queries a server as a client with cookies does.
func TestCookieExchange(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Rate = 5 })
	server := s.Addrs()[0].String()
	client := clientFrom("udp", "127.0.0.4")
	client.Timeout = 200 * time.Millisecond
	const own = "2464c4abcf10c957"
	ask := func(name, cookie string) (r *dns.Msg, got string) {
		t.Helper()
		m := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(maxUDP, false)
		if name == "" {
			m.Question = nil
		}
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
		r, _, err := client.Exchange(m, server)
		if err != nil {
			return nil, ""
		}
		for _, option := range r.IsEdns0().Option {
			if c, ok := option.(*dns.EDNS0_COOKIE); ok {
				got = c.Cookie
			}
		}
		if !strings.HasPrefix(got, own) || len(got) != 2*(clientCookieLen+serverCookieLen) {
			t.Errorf("%s: the answer has the cookie %q", name, got)
		}
		return r, got
	}
	r, cookie := ask("", own)
	if r == nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
		t.Errorf("a question for a cookie alone: %v", r)
	}
	for range 50 { // more than the limit
		if r, next := ask("shop.micro.test.", cookie); r == nil || len(r.Answer) != 1 || r.Truncated {
			t.Fatalf("with a valid cookie: %v", r)
		} else {
			cookie = next
		}
	}
	answered, refused, lost := 0, 0, 0
	for range 20 {
		switch r, got := ask("shop.micro.test.", own+strings.Repeat("00", 16)); {
		case r == nil:
			lost++
		case r.Rcode|r.IsEdns0().ExtendedRcode() == dns.RcodeBadCookie && len(r.Answer) == 0 && !r.Truncated:
			refused++
			cookie = got
		default:
			answered++
		}
	}
	if answered == 0 || refused == 0 || lost == 0 {
		t.Errorf("with a forged cookie: %d answered, %d BADCOOKIE, %d dropped", answered, refused, lost)
	}
	if r, _ := ask("shop.micro.test.", cookie); r == nil || len(r.Answer) != 1 {
		t.Errorf("with the cookie that came with BADCOOKIE: %v", r)
	}
}
