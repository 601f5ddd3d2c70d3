package deploy

import "sync"

// heldImages are the images that a push has made and that no release names yet, with the number of pushes
// that hold each.
type heldImages struct {
	mu sync.Mutex
	n  map[string]int
}

// hold keeps the image with the digest until the function it returns is called.
func (h *heldImages) hold(digest string) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == nil {
		h.n = map[string]int{}
	}
	h.n[digest]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.n[digest]--; h.n[digest] == 0 {
			delete(h.n, digest)
		}
	}
}

// HeldImages returns the digests of the images that pushes under way need although no release names them
// yet. An image collector calls it before it reads the State: a push gives its image up only after it has
// written its release, so the image is in one of the two.
func (d *Deployer) HeldImages() []string {
	d.images.mu.Lock()
	defer d.images.mu.Unlock()
	digests := make([]string, 0, len(d.images.n))
	for digest := range d.images.n {
		digests = append(digests, digest)
	}
	return digests
}
