package router

import (
	"crypto/x509"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// hostTLS has a host's TLS settings.
type hostTLS struct {
	only    bool
	hsts    string         // the field's value, "" for none
	clients *x509.CertPool // who vouches for clients; nil for anybody
	id      string         // of clients: the same for the same authorities
}

// newHostTLS returns nil for the default settings.
func newHostTLS(c *cloud.HostTLS, prev *hostTLS) *hostTLS {
	if c == nil {
		return nil
	}
	t := &hostTLS{only: c.Only, id: c.ClientCA}
	if c.HSTS > 0 {
		t.hsts = "max-age=" + strconv.Itoa(c.HSTS)
	}
	switch {
	case t.id == "":
	case prev != nil && prev.id == t.id:
		t.clients = prev.clients
	default:
		var err error
		if t.clients, err = cloud.ParseAuthorities(t.id); err != nil {
			t.clients = x509.NewCertPool() // it was read when it was set; else nobody is let in
		}
	}
	return t
}

// Clients has the authorities that sign the certificates of a host's clients.
type Clients struct {
	Pool *x509.CertPool // nil: anybody is let in
	ID   string         // the same for the same authorities
}

// Host says whether a table has a host by name, and who vouches for its clients.
func (r *Router) Host(internal bool, host string) (c Clients, known bool) {
	var key [maxHostKey + 1]byte
	name := hostKey([]byte(host), &key)
	if name == nil {
		return c, false
	}
	s := r.table.Load().vhost(internal, internal, &key, name)
	if s == nil {
		return c, false
	}
	if s.tls != nil {
		c = Clients{s.tls.clients, s.tls.id}
	}
	return c, true
}

// verified is a connection whose client somebody vouches for.
type verified interface {
	// ClientsID is the ID of the Clients that the connection's handshake went by; "" for none.
	ClientsID() string
}

// Faults of a host that wants to know its clients. A browser tries again with a connection of its own for the host
// (RFC 9110, section 15.5.20).
var (
	faultMisdirected = fault{421, "misdirected", "This address wants a connection of its own, with a client's certificate.", 0}
	faultNoClient    = fault{403, "client_certificate", "This address answers by TLS alone, to clients with a certificate.", 0}
)

// admits returns a fault if the host does not admit a client.
func (t *hostTLS) admits(from *origin) fault {
	switch {
	case t == nil || t.clients == nil || from.tls && from.clients == t.id:
		return fault{}
	case from.tls:
		return faultMisdirected
	case t.only && from.scheme == "http":
		return fault{} // it is led to TLS
	}
	return faultNoClient
}

// redirect redirects a request without TLS if the host requires TLS, and reports whether it did.
func (x *exchange) redirect() (end ending, done bool) {
	t := x.route.tls
	if t == nil || !t.only || x.from.scheme == "https" {
		return 0, false
	}
	host := strings.Trim(string(h1.HostName(x.req.Host)), "[]")
	switch p := x.c.listener.HTTPS; {
	case p != 0 && p != 443:
		host = net.JoinHostPort(host, strconv.Itoa(int(p)))
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	target := string(x.req.Target)
	if !strings.HasPrefix(target, "/") {
		target = "/" // it is an absolute URI, or "*"
	}
	location := "https://" + host + target
	return x.reply(http.StatusPermanentRedirect, "Location: "+location+"\r\n", "https_only", "This address is asked by TLS.\n"), true
}

// wellKnown begins the paths that an authority asks for to see whose a name is (RFC 8555, section 8.3).
const wellKnown = "/.well-known/acme-challenge/"

// challenge answers an authority's question, where an order of ours has led to it, and tells whether it did. Else the
// request is like any other: an app may have orders of its own.
func (x *exchange) challenge() (end ending, done bool) {
	t := x.req.Target
	if len(t) < len(wellKnown) || t[1] != '.' || string(t[:len(wellKnown)]) != wellKnown || x.c.r.challenges == nil {
		return 0, false
	}
	var key [maxHostKey + 1]byte
	answer := x.c.r.challenges(string(hostKey(x.req.Host, &key)), string(t[len(wellKnown):]))
	if answer == "" {
		return 0, false
	}
	return x.reply(http.StatusOK, "", "", answer), true
}

// reply answers in plain text. fields are further lines of the head, and code is what X-Micro-Error says, "" for no
// error.
func (x *exchange) reply(status int, fields, code, text string) ending {
	if x.RequestID == nil {
		x.newID()
	}
	x.Status, x.Error = status, code
	end := keepOpen
	switch {
	case x.req.Chunked || x.req.Length > x.In:
		end = lingering
	case x.req.Close || x.c.r.closing.Load():
		end = closing
	}
	b := append(x.buf[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, " "+http.StatusText(status)+"\r\n"...)
	if code != "" {
		b = append(b, "X-Micro-Error: "+code+"\r\n"...)
	}
	b = append(b, fields...)
	b = append(b, "X-Request-Id: "...)
	b = append(b, x.RequestID...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, "\r\n"...)
	switch {
	case end != keepOpen:
		b = append(b, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, "\r\n"...)
	if !x.req.NoBody {
		x.Out = int64(len(text))
		b = append(b, text...)
	}
	x.buf = b
	if err := x.write(b); err != nil {
		return closing
	}
	x.answered = true
	return end
}
