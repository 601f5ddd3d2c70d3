package config

import (
	"net/url"
	"os"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// maxSocket is the longest path that a unix socket can have, in bytes (unix(7)).
const maxSocket = 107

// Socket is where the node's API listens.
func (n *Node) Socket() string { return n.Data + "/micro.sock" }

// Target is how clients are told of that socket.
func (n *Node) Target() string { return (&url.URL{Scheme: "unix", Path: n.Socket()}).String() }

func (n *Node) checkSocket() error {
	if got := len(n.Socket()); got > maxSocket {
		return cloud.Errorf(cloud.Invalid, "data folder %s is too long a path: that of its socket may have %d bytes, and has %d", n.Data, maxSocket, got).
			WithHint("choose a shorter one, for example %s", DefaultData)
	}
	return nil
}

// ours are what the data folder of a node has, even one whose first start failed early or that is put back
// from a backup. One of them is enough to know it by.
var ours = []string{"lock", "node.json", "store", "micro.log", "volumes"}

// CheckData refuses a data folder in which others have things: micro closes it to all but root, and would
// do the same to /srv or to somebody's home. One that is empty or not there is fine. A path that is too long
// for a socket is refused too: links may have led to it.
func CheckData(dir string) error {
	if err := (&Node{Data: dir}).checkSocket(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	other := ""
	for _, e := range entries {
		if slices.Contains(ours, e.Name()) {
			return nil
		}
		if e.Name() != "lost+found" { // of a file system of its own
			other = e.Name()
		}
	}
	if other != "" {
		return cloud.Errorf(cloud.Invalid, "data folder %s is no node's and not empty: it has %s in it", dir, other).
			WithHint("choose one that is empty or not there, for example --data %s/micro", dir)
	}
	return nil
}
