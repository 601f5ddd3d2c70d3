package cloud

import (
	"context"
	"sync"
)

// Cell holds the latest view and wakes whoever waits for another. It is where the parts of a node
// meet: the store writes the state, the agent what it observes, and all others read.
type Cell struct {
	mu      sync.Mutex
	view    View
	changed chan struct{} // closed, and made anew, at every change
}

// NewCell shows the view of an empty cloud.
func NewCell() *Cell { return &Cell{view: NewView(), changed: make(chan struct{})} }

// View is the latest.
func (b *Cell) View() View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

// SetState shows a state, unless it is older than the one shown.
func (b *Cell) SetState(s *State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.rev > b.view.State.rev || b.view.State.rev == 0 {
		b.view.State = s
		b.wake()
	}
}

// Observe replaces the instances by what see makes of them. It must be quick and call none of the Cell's methods.
func (b *Cell) Observe(see func(*Instances) *Instances) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next := see(b.view.Instances); next != b.view.Instances {
		b.view.Instances = next
		b.wake()
	}
}

// Show shows a view as a whole, on a cell that nobody else writes to.
func (b *Cell) Show(v View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v != b.view {
		b.view = v
		b.wake()
	}
}

func (b *Cell) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// AtLeast returns the latest view, once its State has reached the revision or ctx has ended.
func (b *Cell) AtLeast(ctx context.Context, rev Revision) View {
	view := b.View()
	for err := error(nil); view.State.Rev() < rev && err == nil; {
		view, err = b.Changed(ctx, view)
	}
	return view
}

// Changed returns a view other than old, at once where it is there already; an error only when ctx ends.
func (b *Cell) Changed(ctx context.Context, old View) (View, error) {
	for {
		b.mu.Lock()
		view, changed := b.view, b.changed
		b.mu.Unlock()
		if view != old {
			return view, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return view, ctx.Err()
		}
	}
}
