package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

// alloc takes memory, touches it and keeps it.
func (a *app) alloc(w http.ResponseWriter, r *http.Request) {
	for range number(r.FormValue("mb"), 1) {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		a.mu.Lock()
		a.held = append(a.held, block)
		a.mu.Unlock()
	}
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
