package cli

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// confirm asks a person a question that y answers. Without a person the answer is no. interrupted says that
// the person pressed Ctrl-C instead.
func (c *command) confirm(question string) (yes, interrupted bool) {
	if !c.interactive() || !terminal(c.Stdin) {
		return false, false
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	fmt.Fprintf(c.Stderr, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() { // it may never end: a read of a terminal can't be cancelled
		var answer string
		_, _ = fmt.Fscanln(c.Stdin, &answer) // no answer is a no
		answers <- answer
	}()
	select {
	case answer := <-answers:
		return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"), false
	case <-interrupts:
		fmt.Fprintln(c.Stderr)
		return false, true
	}
}
