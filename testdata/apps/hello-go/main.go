// Hello is a web server with an endpoint for everything that a test wants to see an app do: README.md
// lists them. It is one static file, so that its image needs nothing else.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(command(os.Args[1], os.Args[2:]))
	}
	if code := os.Getenv("EXIT_AT_START"); code != "" {
		fmt.Fprintln(os.Stderr, "hello: exiting as asked, code", code)
		os.Exit(number(code, 1))
	}
	time.Sleep(millis(os.Getenv("START_DELAY_MS"), 0))
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func serve() error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	// leaving ends the streams, which Shutdown would otherwise wait for.
	leaving, leave := context.WithCancel(context.Background())
	defer leave()
	a := &app{leaving: leaving}
	a.ready.Store(true)
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	// Before anybody can know that it runs: a signal that comes sooner ends it at once.
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	listener, err := listen(port)
	if err != nil {
		return err
	}
	start := server.Serve
	if name := os.Getenv("TLS_NAME"); name != "" {
		if server.TLSConfig, err = ownCertificate(name); err != nil {
			return err
		}
		server.Protocols.SetHTTP2(true)
		start = func(ln net.Listener) error { return server.ServeTLS(ln, "", "") }
	}
	served := make(chan error, 1)
	go func() { served <- start(listener) }()
	fmt.Println("hello: listening on", listener.Addr())

	for {
		select {
		case err := <-served:
			return err
		case s := <-term:
			fmt.Println("hello: got", s)
			if os.Getenv("IGNORE_TERM") != "" {
				continue
			}
			leave()
			ctx, cancel := context.WithTimeout(context.Background(), millis(os.Getenv("DRAIN_MS"), 5*time.Second))
			defer cancel()
			err := server.Shutdown(ctx)
			a.sockets.Wait()
			fmt.Println("hello: bye")
			return err
		}
	}
}

func number(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return otherwise
}

func millis(text string, otherwise time.Duration) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Millisecond
	}
	return otherwise
}
