package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// misbehave does with the nth request what MISBEHAVE says, and tells whether that has answered it.
func (a *app) misbehave(w http.ResponseWriter, n int64) (answered bool) {
	for how := range strings.SplitSeq(os.Getenv("MISBEHAVE"), ",") {
		answered = a.misbehaves(how, w, n) || answered
	}
	return answered
}

func (a *app) misbehaves(how string, w http.ResponseWriter, n int64) (answered bool) {
	switch how {
	case "404":
		http.Error(w, "as MISBEHAVE wants it", http.StatusNotFound)
	case "hang":
		time.Sleep(time.Minute)
	case "empty":
	case "exit":
		if n < 20 {
			return false
		}
		os.Exit(1)
	case "alloc":
		a.hold(1)
		return false
	case "grow":
		if n < 200 {
			a.hold(1)
		}
		return false
	case "log":
		if n%4 == 0 {
			fmt.Println(`{"level":"error","msg":"as MISBEHAVE wants it"}`)
		}
		return false
	case "burn":
		spin(2 * time.Millisecond)
		return false
	default:
		return false
	}
	return true
}

// hold takes megabytes of memory, touches them and keeps them.
func (a *app) hold(mb int) {
	for range mb {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		a.mu.Lock()
		a.held = append(a.held, block)
		a.mu.Unlock()
	}
}

// alloc takes memory, touches it and keeps it.
func (a *app) alloc(w http.ResponseWriter, r *http.Request) {
	a.hold(number(r.FormValue("mb"), 1))
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(w, "holding", len(a.held), "MiB")
}

// burn keeps one CPU busy.
func burn(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, spin(millis(r.FormValue("ms"), time.Second)))
}

// spin uses a processor for a time.
func spin(d time.Duration) (rounds int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		rounds++
	}
	return rounds
}

// metrics exports a counter of orders, one for each second request to /. With MISBEHAVE=lazy there are none.
func (a *app) metrics(w http.ResponseWriter, _ *http.Request) {
	orders := a.count.Load() / 2
	if strings.Contains(os.Getenv("MISBEHAVE"), "lazy") {
		orders = 0
	}
	fmt.Fprintf(w, "# TYPE orders_total counter\norders_total{shop=\"hello\"} %d\n", orders)
}

func exit(_ http.ResponseWriter, r *http.Request) {
	code := number(r.FormValue("code"), 1)
	fmt.Println("hello: exiting as asked, code", code)
	os.Exit(code)
}
