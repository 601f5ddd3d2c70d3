package config

import (
	"net/url"
	"os"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// maxSocket is the longest path of a unix socket, in bytes (unix(7)).
const maxSocket = 107

// Socket returns the path of the socket on which the node's API listens.
func (n *Node) Socket() string { return n.Data + "/micro.sock" }

// Target returns the URL of that socket, for clients.
func (n *Node) Target() string { return (&url.URL{Scheme: "unix", Path: n.Socket()}).String() }

func (n *Node) checkSocket() error {
	if got := len(n.Socket()); got > maxSocket {
		return cloud.Errorf(cloud.Invalid, "the path of data folder %s is too long: its socket's path would have %d bytes, and the limit is %d", n.Data, got, maxSocket).
			WithHint("choose a shorter one, for example %s", DefaultData)
	}
	return nil
}

// dataEntries are the entries by which a node's data folder is recognised. Each folder has at least one of them,
// also after a first start that failed early, and after restoring a backup.
var dataEntries = []string{"lock", "node.json", "store", "micro.log", "volumes"}

// CheckData returns an error for a data folder with files of others: micro closes its data folder to all users
// but root, and would do that to /srv or to a home folder. An empty or missing folder is allowed. CheckData also
// refuses a path that is too long for a socket, because dir may be the target of a link.
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
		if slices.Contains(dataEntries, e.Name()) {
			return nil
		}
		if e.Name() != "lost+found" { // the folder may be a file system's root
			other = e.Name()
		}
	}
	if other != "" {
		return cloud.Errorf(cloud.Invalid, "data folder %s is not empty and does not belong to a node: it contains %s", dir, other).
			WithHint("choose an empty or new folder, for example --data %s/micro", dir)
	}
	return nil
}
