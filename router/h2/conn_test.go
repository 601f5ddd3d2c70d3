package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/protoduction/micro/router/h1"
)

// coreFunc answers requests by a function.
type coreFunc struct {
	s     *Stream
	left  chan struct{}
	serve func(s *Stream, head string)
}

func (c *coreFunc) Answer(head []byte, bad *h1.Error) bool {
	if bad != nil {
		_, _ = fmt.Fprintf(c.s, "HTTP/1.1 %d no\r\nContent-Length: 0\r\n\r\n", bad.Status)
		return true
	}
	c.serve(c.s, string(head))
	return true
}

func (c *coreFunc) Leave() { close(c.left) }

func (c *coreFunc) Close() {}

// client speaks HTTP/2 by single frames.
type client struct {
	*http2.Framer
	t      testing.TB
	nc     net.Conn
	fields bytes.Buffer
	enc    *hpack.Encoder
	conn   *Conn
	cores  atomic.Int64
	left   chan struct{}
}

// talk runs f with a client and a connection whose requests serve answers.
func talk(t *testing.T, serve func(s *Stream, head string), f func(c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		out := &queue{more: make(chan []byte, 10_000)}
		c := &client{t: t, nc: theirs, left: make(chan struct{})}
		begun := time.Now()
		c.conn = NewConn(ours, Config{
			Open: func(s *Stream) Core {
				c.cores.Add(1)
				return &coreFunc{s, c.left, serve}
			},
			Send: func(b []byte) error { out.more <- bytes.Clone(b); return nil },
			Cut:  func() { _ = ours.Close() },
			Now:  func() int64 { return int64(time.Since(begun)) + 1 },
			Idle: 30 * time.Second, Begin: 5 * time.Second, MaxHead: 32 << 10,
			GivenBack: func(b []byte) { copy(b, bytes.Repeat([]byte("?"), len(b))) },
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.conn.Serve()
			_ = ours.Close()
			close(out.more)
		}()
		c.Framer = http2.NewFramer(theirs, out)
		c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		c.enc = hpack.NewEncoder(&c.fields)
		f(c)
		_ = theirs.Close()
		<-ended
	})
}

// queue has what was sent until it is read.
type queue struct {
	more chan []byte
	rest []byte
}

func (q *queue) Read(b []byte) (int, error) {
	for len(q.rest) == 0 {
		next, ok := <-q.more
		if !ok {
			return 0, io.EOF
		}
		q.rest = next
	}
	n := copy(b, q.rest)
	q.rest = q.rest[n:]
	return n, nil
}

// begin says that the client speaks HTTP/2, and reads what the router says to that.
func (c *client) begin(settings ...http2.Setting) *client {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, http2.ClientPreface); err != nil {
		c.t.Fatal(err)
	}
	for range 2 {
		c.next() // SETTINGS and WINDOW_UPDATE
	}
	if err := c.WriteSettings(settings...); err != nil {
		c.t.Fatal(err)
	}
	if got := c.next(); !strings.HasPrefix(got, "SETTINGS") {
		c.t.Fatalf("got %s", got)
	}
	return c
}

// ask sends the head of a request with further fields, as "name: value".
func (c *client) ask(id uint32, end bool, fields ...string) {
	c.t.Helper()
	c.fields.Reset()
	all := []string{":method: POST", ":scheme: https", ":path: /a", ":authority: shop.test"}
	if len(fields) > 0 && strings.HasPrefix(fields[0], ":method") {
		all = nil
	}
	for _, one := range append(all, fields...) {
		at := strings.Index(one[1:], ": ") + 1
		_ = c.enc.WriteField(hpack.HeaderField{Name: one[:at], Value: one[at+2:]})
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next frame as text.
func (c *client) next() string {
	f, err := c.ReadFrame()
	if err != nil {
		return err.Error()
	}
	h := f.Header()
	s := fmt.Sprintf("%v %d", h.Type, h.StreamID)
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		for _, one := range f.Fields {
			s += fmt.Sprintf(" %s=%s", one.Name, one.Value)
		}
		if f.StreamEnded() {
			s += " end"
		}
	case *http2.DataFrame:
		s += fmt.Sprintf(" %s", f.Data())
		if f.StreamEnded() {
			s += " end"
		}
	case *http2.RSTStreamFrame:
		s += " " + f.ErrCode.String()
	case *http2.GoAwayFrame:
		s += fmt.Sprintf(" %d %v", f.LastStreamID, f.ErrCode)
	case *http2.WindowUpdateFrame:
		s += fmt.Sprintf(" %d", f.Increment)
	}
	return s
}

func (c *client) want(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			c.t.Errorf("got %q, want %q", got, want)
		}
	}
}

// answered is a core's answer without a body.
func answered(s *Stream, _ string) {
	_, _ = io.WriteString(s, "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")
}

// TestRequests: what the core reads of a request.
func TestRequests(t *testing.T) {
	const common = "POST /a HTTP/1.1\r\n"
	for _, one := range []struct {
		name   string
		end    bool
		fields []string
		body   []string
		want   string // what the core reads, or the frame that it is refused with
	}{
		{"no body", true, []string{"x: y"}, nil, common + "x: y\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n"},
		{"cookies", true, []string{"cookie: a=1", "x: y", "cookie: b=2"}, nil, common + "x: y\r\nHost: shop.test\r\nCookie: a=1; b=2\r\nContent-Length: 0\r\n\r\n"},
		{"a body of known length", false, []string{"content-length: 6"}, []string{"abc", "def"}, common + "Host: shop.test\r\nContent-Length: 6\r\n\r\nabcdef"},
		{"a body of unknown length", false, nil, []string{"abc"}, common + "Host: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"a WebSocket of another protocol", true, []string{":method: CONNECT", ":scheme: https", ":path: /", ":authority: a.test", ":protocol: chat"}, nil, "HEADERS 1 :status=501 content-length=0 end"},
		{"CONNECT", true, []string{":method: CONNECT", ":authority: a.test"}, nil, "CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"OPTIONS *", true, []string{":method: OPTIONS", ":scheme: https", ":path: *", ":authority: a.test"}, nil, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"Host alone", true, []string{":method: GET", ":scheme: https", ":path: /", "host: a.test"}, nil, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"Host as well", true, []string{"host: Shop.Test"}, nil, common + "Host: Shop.Test\r\nContent-Length: 0\r\n\r\n"},
		{"another Host", true, []string{"host: other.test"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"an absolute path", true, []string{":method: GET", ":scheme: https", ":path: http://other.test/", ":authority: a.test"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a line in a value", true, []string{"x: y\r\nHost: other.test"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a line in a path", true, []string{":method: GET", ":scheme: https", ":path: / HTTP/1.1\r\nx: y", ":authority: a.test"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a space in a method", true, []string{":method: GET /x", ":scheme: https", ":path: /", ":authority: a.test"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"two lengths", false, []string{"content-length: 6", "content-length: 6"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a length and no body", true, []string{"content-length: 6"}, nil, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a body that is longer", false, []string{"content-length: 2"}, []string{"abc"}, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a body that is shorter", false, []string{"content-length: 4"}, []string{"abc"}, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a large head", true, slices.Repeat([]string{"x: " + strings.Repeat("y", 1000)}, 40), nil, "HEADERS 1 :status=431 content-length=0 end"},
	} {
		t.Run(one.name, func(t *testing.T) {
			read := make(chan string, 1)
			talk(t, func(s *Stream, head string) {
				if one.body != nil {
					b, err := io.ReadAll(s)
					if err != nil && !errors.Is(err, io.EOF) {
						return // reset
					}
					head += string(b)
				}
				read <- head
				answered(s, "")
			}, func(c *client) {
				c.begin()
				c.ask(1, one.end, one.fields...)
				go func() { // the router may not read all of it
					for i, part := range one.body {
						_ = c.WriteData(1, i == len(one.body)-1, []byte(part))
					}
				}()
				got := c.next()
				if strings.HasPrefix(got, "HEADERS 1 :status=204") {
					got = <-read
				}
				if got != one.want {
					t.Errorf("got %q, want %q", got, one.want)
				}
				synctest.Wait()
			})
		})
	}
}

// TestAnswers: what a client gets of an answer.
func TestAnswers(t *testing.T) {
	for _, one := range []struct {
		method string
		pieces []string
		want   []string
	}{
		{"GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: 7\r\nConnection: close\r\n\r\nok"}, []string{"HEADERS 1 :status=200 content-length=2 x-request-id=7", "DATA 1 ok end"}},
		{"HEAD", []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"}, []string{"HEADERS 1 :status=200 content-length=2 end"}},
		{"GET", []string{"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"}, []string{"HEADERS 1 :status=103 link=a", "HEADERS 1 :status=304 content-length=9 end"}},
		{"GET", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "0\r\nGrpc-Status: 0\r\n\r\n"}, []string{"HEADERS 1 :status=200", "DATA 1 ok", "HEADERS 1 grpc-status=0 end"}},
		{"GET", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"}, []string{"HEADERS 1 :status=200", "DATA 1 ok end"}},
		{"GET", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"}, []string{"HEADERS 1 :status=200", "DATA 1  end"}},
		{"GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"}, []string{"HEADERS 1 :status=200 content-length=9", "DATA 1 ok", "RST_STREAM 1 INTERNAL_ERROR"}},
		{"GET", nil, []string{"RST_STREAM 1 INTERNAL_ERROR"}},
	} {
		talk(t, func(s *Stream, head string) {
			for _, piece := range one.pieces {
				_, _ = s.Write([]byte(piece))
			}
		}, func(c *client) {
			c.begin()
			c.ask(1, true, ":method: "+one.method, ":scheme: https", ":path: /", ":authority: a.test")
			c.want(one.want...)
		})
	}
}

// TestUnreadBody: an answer that comes before the end of the body stops the rest, and what was sent of it is ignored.
func TestUnreadBody(t *testing.T) {
	talk(t, answered, func(c *client) {
		c.begin()
		c.ask(1, false)
		c.want("HEADERS 1 :status=204 x-a=b end", "RST_STREAM 1 NO_ERROR")
		_ = c.WriteData(1, true, []byte("late"))
		c.ask(3, true)
		c.want("HEADERS 3 :status=204 x-a=b end")
	})
}

// TestStreamsAreKept: requests one after the other need one core; a core of a stream that was reset is no other's.
func TestStreamsAreKept(t *testing.T) {
	talk(t, func(s *Stream, head string) {
		if strings.HasPrefix(head, "PUT") {
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading of a stream that was reset: %v", err)
			}
			if _, err := io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("answering a stream that was reset: %v", err)
			}
			return
		}
		answered(s, head)
	}, func(c *client) {
		c.begin()
		for id := uint32(1); id < 20; id += 2 {
			c.ask(id, true)
			c.want(fmt.Sprintf("HEADERS %d :status=204 x-a=b end", id))
			synctest.Wait()
		}
		if n := c.cores.Load(); n != 1 {
			t.Errorf("%d cores", n)
		}
		c.ask(21, false, ":method: PUT", ":scheme: https", ":path: /", ":authority: a.test")
		synctest.Wait()
		_ = c.WriteRSTStream(21, http2.ErrCodeCancel)
		<-c.left
		c.ask(23, true)
		c.want("HEADERS 23 :status=204 x-a=b end")
		if n := c.cores.Load(); n != 2 {
			t.Errorf("%d cores after a reset", n)
		}
	})
}

// TestWindows: nothing is sent that the client has no room for, and what it has room for comes.
func TestWindows(t *testing.T) {
	talk(t, func(s *Stream, head string) {
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabcdefgh")
	}, func(c *client) {
		c.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
		c.ask(1, true)
		c.want("HEADERS 1 :status=200 content-length=8", "DATA 1 abc")
		_ = c.WriteWindowUpdate(1, 1)
		c.want("DATA 1 d")
		_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		c.want("SETTINGS 0", "DATA 1 ef")
		_ = c.WriteWindowUpdate(1, 100)
		c.want("DATA 1 gh end")
	})
}

// TestStall: a client that has no room for an answer does not hold up a core whose limit is over.
func TestStall(t *testing.T) {
	failed := make(chan error, 1)
	talk(t, func(s *Stream, head string) {
		time.AfterFunc(10*time.Second, func() { _ = s.SetWriteDeadline(time.Unix(1, 0)) })
		_, err := io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabcdefgh")
		failed <- err
	}, func(c *client) {
		c.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		c.ask(1, true)
		c.want("HEADERS 1 :status=200 content-length=8", "RST_STREAM 1 INTERNAL_ERROR")
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestBodyWindow: a client may send as much as the core reads, and no more than a window beyond that.
func TestBodyWindow(t *testing.T) {
	const size = 3 << 20
	talk(t, func(s *Stream, head string) {
		n, err := io.Copy(io.Discard, s)
		if n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		answered(s, head)
	}, func(c *client) {
		c.begin()
		c.ask(1, false, fmt.Sprintf("content-length: %d", size))
		stream, conn := int64(streamWindow), int64(connWindow)
		answer := make(chan string)
		more := make(chan [2]int64)
		go func() {
			for {
				f, err := c.ReadFrame()
				if w, ok := f.(*http2.WindowUpdateFrame); ok {
					more <- [2]int64{int64(w.StreamID), int64(w.Increment)}
					continue
				}
				answer <- fmt.Sprint(f, err)
				return
			}
		}()
		for sent := int64(0); sent < size; {
			n := min(size-sent, maxFrame, stream, conn)
			if n == 0 {
				w := <-more
				if w[0] == 0 {
					conn += w[1]
				} else {
					stream += w[1]
				}
				continue
			}
			wrote := make(chan struct{})
			go func() { _ = c.WriteData(1, sent+n == size, make([]byte, n)); close(wrote) }()
			for done := false; !done; {
				select {
				case w := <-more:
					if w[0] == 0 {
						conn += w[1]
					} else {
						stream += w[1]
					}
				case <-wrote:
					done = true
				}
			}
			sent, stream, conn = sent+n, stream-n, conn-n
		}
		for {
			select {
			case <-more:
				continue
			case got := <-answer:
				if !strings.Contains(got, "HEADERS") {
					t.Error(got)
				}
			}
			break
		}
	})
}

// TestGoodbye: a client hears that its connection ends; what it asks before it has heard is answered, what it asks
// after that is not.
func TestGoodbye(t *testing.T) {
	talk(t, answered, func(c *client) {
		c.begin()
		c.ask(1, true)
		c.want("HEADERS 1 :status=204 x-a=b end")
		c.conn.End()
		c.want("GOAWAY 0 2147483647 NO_ERROR", "PING 0")
		c.ask(3, true)
		c.want("HEADERS 3 :status=204 x-a=b end")
		synctest.Wait()
		_ = c.WritePing(true, farewellPing)
		c.want("GOAWAY 0 3 NO_ERROR", "EOF")
	})
	talk(t, func(s *Stream, head string) { time.Sleep(10 * time.Second); answered(s, head) }, func(c *client) {
		c.begin()
		c.ask(1, true)
		synctest.Wait()
		c.conn.End()
		// The client says nothing to that.
		c.want("GOAWAY 0 2147483647 NO_ERROR", "PING 0", "GOAWAY 0 1 NO_ERROR")
		c.ask(3, true)
		c.want("HEADERS 1 :status=204 x-a=b end", "EOF")
	})
}

// TestSilence: a connection without a request ends after its limit, one that does not begin after another, and one whose
// client is not there any more though it has a request.
func TestSilence(t *testing.T) {
	talk(t, answered, func(c *client) {
		begun := time.Now()
		c.begin()
		c.want("GOAWAY 0 0 NO_ERROR", "EOF")
		if took := time.Since(begun); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("idle for %v", took)
		}
	})
	talk(t, answered, func(c *client) {
		begun := time.Now()
		c.want("EOF")
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it did not begin for %v", took)
		}
	})
	talk(t, func(s *Stream, head string) { _, _ = s.Read(make([]byte, 1)) }, func(c *client) {
		c.begin()
		c.ask(1, false)
		c.want("PING 0", "EOF")
		<-c.left
	})
}

// TestBudget: frames that carry nothing end a connection, unless requests are answered meanwhile.
func TestBudget(t *testing.T) {
	talk(t, answered, func(c *client) {
		c.begin()
		for n := 0; ; n++ {
			if err := c.WritePriority(1, http2.PriorityParam{StreamDep: 3}); err != nil {
				t.Fatal(err)
			}
			if n == maxBudget {
				break
			}
		}
		c.want("GOAWAY 0 0 ENHANCE_YOUR_CALM")
	})
	talk(t, answered, func(c *client) {
		c.begin()
		for id := uint32(1); id < 4*maxBudget/10; id += 2 {
			for range answerPays {
				_ = c.WritePriority(1, http2.PriorityParam{StreamDep: 3})
			}
			c.ask(id, true)
			c.want(fmt.Sprintf("HEADERS %d :status=204 x-a=b end", id))
			synctest.Wait()
		}
	})
}
