package api

import "os"

// link is the far end of a connection to a child process: its standard input and output.
type link struct{ in, out *os.File }

func (l link) close() {
	l.in.Close()
	if l.out != l.in {
		l.out.Close()
	}
}
