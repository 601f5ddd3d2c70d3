package deploy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
)

// sources keeps the folder of each app's last upload, as GROUP/APP/DIGEST-NUMBER below its own. The digest is of all
// that is in the folder, so that a push that lists the same files has its folder already, and any other one
// sends only the files that are missing there. It is a cache: all of it may be removed at any time.
//
// Nothing is synced to the disk. So the folders of an earlier boot of the machine are given up: what they
// are named after might not be what is in them.
type sources struct {
	dir string

	mu    sync.Mutex
	trees map[cloud.AppRef]*tree // the last one of each app
	users map[*tree]int
}

// tree is an uploaded folder and the list of what is in it. Nobody changes it.
type tree struct {
	digest string
	dir    string
	// stale is set where the tree is to be removed as soon as nobody uses it. The sources' lock guards it.
	stale bool
}

func (t *tree) folder() string { return filepath.Join(t.dir, "tree") }
func (t *tree) list() string   { return filepath.Join(t.dir, "list") }

// entries returns what is in the tree.
func (t *tree) entries() ([]source.Entry, error) {
	f, err := os.Open(t.list())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// It was within its limits when it was written.
	return source.ReadList(context.Background(), f, source.Unlimited)
}

// newSources opens the folder sources, and gives up what an earlier boot of the machine has left there.
func newSources(dir, boot string) (*sources, error) {
	s := &sources{dir: filepath.Join(dir, "sources"), trees: map[cloud.AppRef]*tree{}, users: map[*tree]int{}}
	mark := filepath.Join(s.dir, ".boot")
	if was, err := os.ReadFile(mark); err == nil && string(was) == boot && boot != "" {
		return s, s.find()
	}
	if err := emptyFolder(s.dir); err != nil {
		return nil, fmt.Errorf("give up the files of the last uploads: %w", err)
	}
	// Without the mark, the folders are given up at the next start: the disk may be full.
	if err := os.WriteFile(mark, []byte(boot), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return nil, err
	}
	return s, nil
}

// find notes the trees of an earlier process. An app has one, and two where the process was killed at the
// wrong moment: then either will do.
func (s *sources) find() error {
	found, err := filepath.Glob(filepath.Join(s.dir, "*", "*", "*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		digest, _, _ := strings.Cut(filepath.Base(dir), "-")
		app := cloud.AppRef{
			Group: cloud.GroupName(filepath.Base(filepath.Dir(filepath.Dir(dir)))), App: cloud.AppName(filepath.Base(filepath.Dir(dir))),
		}
		if raw, err := hex.DecodeString(digest); err != nil || len(raw) == 0 || s.trees[app] != nil {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		s.trees[app] = &tree{digest: digest, dir: dir}
	}
	return nil
}

// last holds the tree of an app's last upload, where there is one, until release is called with it.
func (s *sources) last(app cloud.AppRef) *tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.trees[app]
	if t != nil {
		s.users[t]++
	}
	return t
}

// has reports whether an app's last upload is kept.
func (s *sources) has(app cloud.AppRef) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trees[app] != nil
}

// keep moves a tree from where it was made to where it is kept, as that of the app's last upload, and holds it.
func (s *sources) keep(app cloud.AppRef, made *tree) (*tree, error) {
	s.mu.Lock()
	last := s.trees[app]
	if last != nil && last.digest == made.digest {
		s.users[last]++
		s.mu.Unlock()
		return last, nil
	}
	// An older tree with the same digest may still be in use.
	kept := &tree{digest: made.digest, dir: filepath.Join(s.dir, string(app.Group), string(app.App), made.digest+"-"+strings.ToLower(rand.Text()))}
	err := os.MkdirAll(filepath.Dir(kept.dir), 0o700)
	if err == nil {
		err = os.Rename(made.dir, kept.dir)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.trees[app] = kept
	s.users[kept]++
	gone := s.giveUp(last)
	s.mu.Unlock()
	return kept, gone.remove()
}

// release ends a use of a tree. It removes the tree where that was its last one and nobody needs it.
func (s *sources) release(t *tree) error {
	if t == nil {
		return nil
	}
	s.mu.Lock()
	var gone *tree
	if s.users[t]--; s.users[t] <= 0 {
		delete(s.users, t)
		if t.stale {
			gone = t
		}
	}
	s.mu.Unlock()
	return gone.remove()
}

// giveUp marks a tree as stale, and returns it where it can be removed at once. The lock is held.
func (s *sources) giveUp(t *tree) *tree {
	if t == nil {
		return nil
	}
	if t.stale = true; s.users[t] > 0 {
		return nil
	}
	return t
}

// remove removes a tree's files; nil has none. Many take a while: no lock is held.
func (t *tree) remove() error {
	if t == nil {
		return nil
	}
	return os.RemoveAll(t.dir)
}

// clear removes all kept files that no push is using.
func (s *sources) clear() error {
	s.mu.Lock()
	var gone []*tree
	for _, t := range s.trees {
		gone = append(gone, s.giveUp(t))
	}
	clear(s.trees)
	s.mu.Unlock()
	var errs []error
	for _, t := range gone {
		errs = append(errs, t.remove())
	}
	return errors.Join(errs...)
}

// bootID is another one after each boot of the machine; "" where the kernel does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
