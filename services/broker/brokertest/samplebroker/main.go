// Command samplebroker is an Open Service Broker to try micro with: samplebroker ADDRESS serves one whose databases do not exist.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/protoduction/micro/services/broker/brokertest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: samplebroker ADDRESS")
		os.Exit(2)
	}
	server := &http.Server{Addr: os.Args[1], Handler: &brokertest.Broker{Username: "micro", Password: "secret", Polls: 1}, ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, "samplebroker:", err)
		os.Exit(1)
	}
}
