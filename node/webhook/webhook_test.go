package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/network"
)

var notice = cloud.Notice{
	ID: "shop@r7 crossfade-aborted www.example.com/ 2026-11-28T12:00:00Z", Time: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Kind: cloud.NoticeAborted,
	App: cloud.AppRef{Group: "default", App: "shop"}, Release: 7, Host: "www.example.com", Path: "/", By: "micro", Verdict: "worse", Text: "www.example.com is rolled back",
}

func TestPost(t *testing.T) {
	var header http.Header
	var body []byte
	status := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	p := NewPoster("1.2.3", network.CheckOutside)
	w := &cloud.Webhook{Name: "chat", URL: server.URL + "/hooks/TOKEN", Secret: "key", Inside: true}
	if err := p.Post(t.Context(), w, notice); err != nil {
		t.Fatal(err)
	}
	var got Message
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := Message{notice.ID, notice.Time, notice.Kind, "default", "shop", 7, "www.example.com", "/", "micro", "worse", notice.Text}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "micro/1.2.3", "X-Micro-Event": "crossfade-aborted", "X-Micro-Delivery": notice.ID,
		"X-Micro-Signature-256": "sha256=" + Sign("key", body),
	} {
		if header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, header.Get(name), value)
		}
	}
	// RFC 4231, test case 2.
	if got := Sign("Jefe", []byte("what do ya want for nothing?")); got != "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" {
		t.Errorf("signature %s", got)
	}
	for _, status = range []int{302, 400, 503} {
		if err := p.Post(t.Context(), w, notice); err == nil || !strings.Contains(err.Error(), http.StatusText(status)) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	server.Close()
	if err := p.Post(t.Context(), w, notice); err == nil || strings.Contains(err.Error(), "TOKEN") {
		t.Errorf("a server that is gone: %v", err)
	}
}

// A group's people must not reach through the node what they can't reach themselves.
func TestInside(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	p := NewPoster("", network.CheckOutside)
	for _, url := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), "http://169.254.169.254/latest"} {
		if err := p.Post(t.Context(), &cloud.Webhook{URL: url}, notice); err == nil || asked {
			t.Errorf("%s: %v, asked: %t", url, err, asked)
		}
	}
}
