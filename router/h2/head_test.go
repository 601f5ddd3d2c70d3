package h2

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/protoduction/micro/router/h1"
)

// FuzzHead: whatever fields a client sends, the core reads one request with no other fields than those, or none at all.
func FuzzHead(f *testing.F) {
	f.Add(":method=GET\n:scheme=https\n:path=/\n:authority=a.test\nx=y\ncookie=a\ncookie=b\nte=trailers", true)
	f.Add(":method=CONNECT\n:protocol=websocket\n:scheme=https\n:path=/\n:authority=a.test\nsec-websocket-key=x", true)
	f.Add(":method=POST\n:scheme=https\n:path=/\n:authority=a.test\ncontent-length=5\ntrailer=x\nhost=a.test", true)
	f.Add(":method=GET\n:scheme=https\n:path=/ HTTP/1.1\rx: y\n:authority=a.test\nx=\r", false)
	f.Fuzz(func(t *testing.T, fields string, body bool) {
		var h head
		h.reset(h1.MaxHead)
		var names []string
		for line := range strings.SplitSeq(fields, "\n") {
			name, value, _ := strings.Cut(line, "=")
			h.add(hpack.HeaderField{Name: name, Value: value})
			names = append(names, name)
		}
		if bad := h.end(body); h.invalid || bad != nil {
			return
		}
		if n := bytes.Count(h.text, []byte("\r\n\r\n")); n != 1 || !bytes.HasSuffix(h.text, []byte("\r\n\r\n")) {
			t.Fatalf("%d ends of a head in %q", n, h.text)
		}
		var q h1.Request
		if q.Parse(h.text) != nil {
			return // the core refuses it
		}
		if string(q.Host) != h.host && q.Host != nil {
			t.Errorf("host %q, want %q", q.Host, h.host)
		}
		if !body && (q.Chunked || q.Length > 0) || body && h.method != "CONNECT" && !q.Chunked && q.Length < 0 {
			t.Errorf("a body %v, read as %v, %d", body, q.Chunked, q.Length)
		}
		all := q.Fields()
		for i := range all {
			switch all[i].Name {
			case h1.Host, h1.ContentLength, h1.TransferEncoding, h1.Cookie:
				continue
			case h1.Connection, h1.Upgrade:
				if h.webSocket() {
					continue
				}
			}
			name := string(q.NameOf(&all[i]))
			if name == "Sec-WebSocket-Key" && h.webSocket() {
				continue
			}
			found := false
			for _, one := range names {
				found = found || one == name
			}
			if !found {
				t.Errorf("field %q came from nowhere: %q", name, h.text)
			}
		}
	})
}
