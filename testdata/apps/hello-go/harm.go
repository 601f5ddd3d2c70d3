package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

// misbehave does with the nth request what MISBEHAVE says, and tells whether that has answered it.
func (a *app) misbehave(w http.ResponseWriter, n int64) bool {
	switch os.Getenv("MISBEHAVE") {
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
	rounds := 0
	for end := time.Now().Add(millis(r.FormValue("ms"), time.Second)); time.Now().Before(end); {
		rounds++
	}
	fmt.Fprintln(w, rounds)
}

func exit(_ http.ResponseWriter, r *http.Request) {
	code := number(r.FormValue("code"), 1)
	fmt.Println("hello: exiting as asked, code", code)
	os.Exit(code)
}
