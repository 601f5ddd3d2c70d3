package router

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"time"

	"github.com/protoduction/micro/router/h1"
)

// fault is an answer that the router gives itself. Code is what X-Micro-Error says.
type fault struct {
	status int
	code   string
	text   string
	retry  int // Retry-After in seconds, 0 for none
}

var (
	faultUnknown     = fault{404, "unknown_route", "No app answers at this address.", 0}
	faultRelease     = fault{404, "unknown_release", "This app has no such release, or it does not run.", 0}
	faultNotExposed  = fault{403, "not_exposed", "This address answers to local clients only.", 0}
	faultNoEndpoints = fault{503, "no_endpoints", "No instance of this app is ready.", 2}
	faultHeldTooMany = fault{503, "no_endpoints", "No instance of this app is ready, and as many requests as the router holds are waiting for one.", 2}
	faultOverloaded  = fault{503, "overloaded", "The router is short of connections.", 1}
	faultConnect     = fault{502, "endpoint_failure", "No instance of the app accepts a connection.", 0}
	faultBroken      = fault{502, "endpoint_failure", "The app closed the connection without an answer.", 0}
	faultAnswer      = fault{502, "endpoint_failure", "The app's answer is not valid HTTP.", 0}
	faultClientGone  = fault{499, "client_gone", "", 0}
)

// Codes of limits. Whoever meets one is told that it is the router's, and how long it is.
const (
	codeTimeout       = "endpoint_timeout"
	codeClientTimeout = "client_timeout"
	codeBodyTimeout   = "request_timeout"
	codeHalfClosed    = "half_closed_timeout"
)

func faultTimeout(limit time.Duration) fault {
	return fault{504, codeTimeout, fmt.Sprintf("The app has not answered within %v, which is as long as the router waits.", limit), 0}
}

func faultUnread(limit time.Duration) fault {
	return fault{504, codeTimeout, fmt.Sprintf("The app has read nothing of the request's body for %v, which is as long as the router waits.", limit), 0}
}

func faultHalfClosed(limit time.Duration) fault {
	return fault{408, codeHalfClosed, fmt.Sprintf("The client has ended its sending side, and the app has not answered within %v after that, which is as long as the router waits.", limit), 0}
}

func faultHeld(limit time.Duration) fault {
	return fault{503, faultNoEndpoints.code, fmt.Sprintf("No instance of this app became ready within %v, which is as long as the router holds a request.", limit), 2}
}

func faultTooLarge(limit int64) fault {
	return fault{413, "body_too_large", fmt.Sprintf("This address takes request bodies of at most %d bytes.", limit), 0}
}

func badRequest(err error) fault {
	var bad *h1.Error
	if !errors.As(err, &bad) {
		return fault{400, "bad_request", "The request can't be read.", 0}
	}
	return fault{status: bad.Status, code: "bad_request", text: bad.Reason}
}

// refuse answers in the app's stead, where nothing has been answered yet. The connection stays open
// only where the whole request has been read.
func (x *exchange) refuse(f fault) ending {
	c := x.c
	x.Error = f.code
	if x.answered {
		return closing
	}
	x.Status = f.status
	if f == faultClientGone {
		return closing
	}
	unread := x.req.Chunked || x.req.Length > x.In
	end := keepOpen
	switch {
	case f.code == "bad_request" || unread:
		end = lingering
	case x.req.Close || c.r.closing.Load():
		end = closing
	}
	x.buf = x.appendRefusal(x.buf[:0], f, end != keepOpen)
	if err := x.write(x.buf); err != nil {
		return closing
	}
	x.answered = true
	return end
}

func (x *exchange) appendRefusal(b []byte, f fault, last bool) []byte {
	if x.RequestID == nil {
		x.newID()
	}
	body, kind := page(f, string(x.RequestID), x.c.accepts(&x.req))
	reason := http.StatusText(f.status)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(f.status), 10)
	b = append(b, ' ')
	b = append(b, reason...)
	b = append(b, "\r\nX-Micro-Error: "...)
	b = append(b, f.code...)
	b = append(b, "\r\nX-Request-Id: "...)
	b = append(b, x.RequestID...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Type: "...)
	b = append(b, kind...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	if f.retry > 0 {
		b = append(b, "Retry-After: "...)
		b = strconv.AppendInt(b, int64(f.retry), 10)
		b = append(b, "\r\n"...)
	}
	if f.status == http.StatusMethodNotAllowed {
		b = append(b, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	if f.code == codeLogin {
		b = append(b, "WWW-Authenticate: Cookie realm=\"micro\", form-action=\""+loginPath+"\", cookie-name="+loginCookie+"\r\n"...)
	}
	switch {
	case last:
		b = append(b, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, "\r\n"...)
	if x.req.NoBody {
		return b
	}
	x.Out = int64(len(body))
	return append(b, body...)
}

// accepts tells that the client is a browser, which gets a page; all others get JSON.
func (c *conn) accepts(q *h1.Request) (page bool) {
	return bytes.Contains(q.Get(h1.Accept), []byte("text/html"))
}

// page is a refusal for people or for programs.
func page(f fault, id string, person bool) (body, kind string) {
	if !person {
		return fmt.Sprintf("{\"status\":%d,\"code\":%q,\"detail\":%q,\"request_id\":%q}\n", f.status, f.code, f.text, jsonSafe(id)), "application/json"
	}
	return fmt.Sprintf(pageHTML, f.status, http.StatusText(f.status), html.EscapeString(f.text), html.EscapeString(f.code), html.EscapeString(id)),
		"text/html; charset=utf-8"
}

// jsonSafe leaves out of a request ID, which a trusted proxy may have made, what JSON would not take.
func jsonSafe(s string) string {
	return string(bytes.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, []byte(s)))
}

const pageHTML = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>%[1]d %[2]s</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}
main{max-width:32rem;padding:2rem}
h1{font-size:3.5rem;line-height:1;margin:0 0 .5rem;font-weight:700}
p{margin:.25rem 0}
small{opacity:.6;font-family:ui-monospace,monospace}
</style></head>
<body><main><h1>%[1]d</h1><p>%[3]s</p><p><small>%[4]s · %[5]s</small></p></main></body></html>
`
