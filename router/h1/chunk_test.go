package h1

import (
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// decode decodes in pieces of the size, in place as a proxy does.
func decode(in string, size int) (data, trailer, rest string, done bool, err error) {
	var d Chunks
	d.Reset()
	var out []byte
	b := []byte(in)
	for len(b) > 0 && !d.Done() {
		p := b[:min(size, len(b))]
		nd, ns, err := d.Decode(p, p)
		out = append(out, p[:nd]...)
		if err != nil {
			return string(out), "", "", false, err
		}
		b = b[ns:]
	}
	return string(out), string(d.Trailer()), string(b), d.Done(), nil
}

func TestChunks(t *testing.T) {
	f := func(in, wantData, wantTrailer, wantRest string) {
		t.Helper()
		in = strings.ReplaceAll(in, "|", "\r\n")
		for _, size := range []int{1, 2, 3, 5, 1000} {
			data, trailer, rest, done, err := decode(in, size)
			if err != nil || !done || data != wantData || trailer != strings.ReplaceAll(wantTrailer, "|", "\r\n") || rest != wantRest {
				t.Errorf("%q by %d: got %q, trailer %q, rest %q, done %v, %v", in, size, data, trailer, rest, done, err)
			}
		}
	}
	f("0||", "", "", "")
	f("5|hello|0||", "hello", "", "")
	f("5|hello|6| world|0||GET", "hello world", "", "GET")
	f("A|0123456789|0||", "0123456789", "", "")
	f("005|hello|0000||", "hello", "", "")
	f("5;a=b;c=\"d\"|hello|0;x||", "hello", "", "")
	f("1|a|0|X-Sum: 1|Y: 2||", "a", "X-Sum: 1|Y: 2|", "")
	f("1|a|0|Content-Length: 1|X: 2|Host: b|Transfer-Encoding: x||", "a", "X: 2|", "")
	f("1|a|0|X_Forwarded_For: 1|X-Forwarded-For: 2||", "a", "", "")
}

func TestChunksRefused(t *testing.T) {
	f := func(in string) {
		t.Helper()
		in = strings.ReplaceAll(in, "|", "\r\n")
		for _, size := range []int{1, 1000} {
			if data, _, _, done, err := decode(in, size); err == nil || done {
				t.Errorf("%q by %d: accepted as %q", in, size, data)
			}
		}
	}
	f("5\nhello\r\n0\r\n\r\n")
	f("5\r\nhello\n0\r\n\r\n")
	f("5|hello0||")
	f("5|hell|0||")
	f("5|hello!|0||")
	f("|5|hello|0||")
	f(" 5|hello|0||")
	f("5 |hello|0||")
	f("+5|hello|0||")
	f("-5|hello|0||")
	f("0x5|hello|0||")
	f("g|hello|0||")
	f("5;a\nb|hello|0||")
	f("5;a\rb|hello|0||")
	f("5;a\x00b|hello|0||")
	f("5;" + strings.Repeat("a", 300) + "|hello|0||")
	f("10000000000000000|a")
	f("0|X : 1||")
	f("0|X: \x00||")
	f("0| X: 1||")
	f("0|X: 1\n\r\n")
	f("0|no colon||")
	f("0|X: " + strings.Repeat("y", maxTrailer) + "||")
	f(strings.Repeat("1;"+strings.Repeat("x", 200)+"|a|", 1000))
}

func TestEncodeChunk(t *testing.T) {
	for _, n := range []int{1, 9, 10, 15, 16, 17, 255, 256, 65536} {
		b := make([]byte, ChunkRoom+n+2)
		copy(b[ChunkRoom:], bytes.Repeat([]byte("x"), n))
		start, stop := EncodeChunk(b, ChunkRoom, ChunkRoom+n)
		got, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(string(b[start:stop]) + "0\r\n\r\n")))
		if err != nil || len(got) != n {
			t.Errorf("%d: %d bytes, %v", n, len(got), err)
		}
	}
}

// FuzzChunks holds the decoder against the standard library's: what both accept they read the same, in
// whatever pieces it comes.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", "5\nhello\n0\n\n", "a\r\n0123456789\r\n00\r\n\r\nrest"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, in string, size int) {
		size = size&0xff + 1
		whole, trailer, rest, done, err := decode(in, len(in)+1)
		data, trailer2, rest2, done2, err2 := decode(in, size)
		if done != done2 || (err == nil) != (err2 == nil) || done && (data != whole || trailer != trailer2 || rest != rest2) {
			t.Fatalf("in pieces of %d: %q %q %q %v %v, whole: %q %q %q %v %v", size, data, trailer2, rest2, done2, err2, whole, trailer, rest, done, err)
		}
		if !done {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(in)))
		if err != nil {
			return // stricter than we are about something
		}
		if string(std) != whole {
			t.Fatalf("read %q, net/http read %q", whole, std)
		}
	})
}
