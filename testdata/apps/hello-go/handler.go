package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type app struct {
	leaving context.Context
	sockets sync.WaitGroup
	ready   atomic.Bool
	count   atomic.Int64

	mu   sync.Mutex
	held [][]byte // what /alloc has taken
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.root)
	mux.HandleFunc("/env", env)
	mux.HandleFunc("/headers", headers)
	mux.HandleFunc("/post", post)
	mux.HandleFunc("/big", big)
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/status", status)
	mux.HandleFunc("/trailers", trailers)
	mux.HandleFunc("/sse", a.sse)
	mux.HandleFunc("/ws", a.ws)
	mux.HandleFunc("/ready", a.readiness)
	mux.HandleFunc("/alloc", a.alloc)
	mux.HandleFunc("/metrics", a.metrics)
	mux.HandleFunc("/burn", burn)
	mux.HandleFunc("/exit", exit)
	mux.HandleFunc("/hang", a.hang)
	mux.HandleFunc("/log", logLines)
	mux.HandleFunc("/dial", dial)
	mux.HandleFunc("/resolve", resolve)
	mux.HandleFunc("/fetch", fetch)
	mux.HandleFunc("GET /file", readFile)
	mux.HandleFunc("PUT /file", writeFile)
	return mux
}

func (a *app) root(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	n := a.count.Add(1)
	if every, err := strconv.Atoi(os.Getenv("FAIL_EVERY")); err == nil && every > 0 && n%int64(every) == 0 {
		http.Error(w, "as FAIL_EVERY wants it", http.StatusInternalServerError)
		return
	}
	if a.misbehave(w, n) {
		return
	}
	time.Sleep(millis(os.Getenv("SLOW_MS"), 0))
	fmt.Fprintf(w, "hello from %s %s %s, request %d\n",
		os.Getenv("MICRO_APP"), os.Getenv("MICRO_RELEASE"), os.Getenv("MICRO_INSTANCE"), n)
}

func env(w http.ResponseWriter, _ *http.Request) {
	all := map[string]string{}
	for _, kv := range os.Environ() {
		key, value, _ := strings.Cut(kv, "=")
		all[key] = value
	}
	answer(w, all)
}

func headers(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]any{
		"method": r.Method, "target": r.RequestURI, "proto": r.Proto, "host": r.Host,
		"remote": r.RemoteAddr, "header": r.Header,
	})
}

func post(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil)), "trailer": r.Trailer})
}

func big(w http.ResponseWriter, r *http.Request) {
	left := number(r.FormValue("bytes"), 1<<20)
	if r.FormValue("chunked") == "" {
		w.Header().Set("Content-Length", fmt.Sprint(left))
	}
	block := []byte(strings.Repeat("0123456789abcde\n", 4096))
	for left > 0 {
		n, err := w.Write(block[:min(left, len(block))])
		if err != nil {
			return
		}
		left -= n
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(millis(r.FormValue("ms"), time.Second)):
		fmt.Fprintln(w, "at last")
	case <-r.Context().Done():
		fmt.Println("hello: /slow was given up")
	}
}

func status(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(number(r.FormValue("code"), http.StatusOK))
}

func trailers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Trailer", "X-Sum")
	fmt.Fprintln(w, "body")
	w.Header().Set("X-Sum", "5")
}

func (a *app) sse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(w)
	tick := time.NewTicker(millis(r.FormValue("ms"), 100*time.Millisecond))
	defer tick.Stop()
	for i := 0; i != number(r.FormValue("n"), -1); i++ {
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, os.Getenv("MICRO_INSTANCE"))
		if stream.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-a.leaving.Done():
			fmt.Fprint(w, "event: bye\ndata: \n\n")
			return
		}
	}
}

// readiness answers 200 or 503; a POST with on=false or on=true changes which.
func (a *app) readiness(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		a.ready.Store(r.FormValue("on") != "false")
	}
	if !a.ready.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, "ready:", a.ready.Load())
}

func (a *app) hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-a.leaving.Done():
	}
}

func logLines(_ http.ResponseWriter, r *http.Request) {
	out := os.Stdout
	if r.FormValue("to") == "stderr" {
		out = os.Stderr
	}
	text := r.FormValue("text")
	if text == "" {
		text = strings.Repeat("x", number(r.FormValue("size"), 40))
	}
	for i := range number(r.FormValue("lines"), 1) {
		fmt.Fprintf(out, "line %d %s\n", i, text)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.Encode(v)
}
