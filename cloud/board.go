package cloud

import (
	"context"
	"sync"
)

// Board holds the latest view and wakes whoever waits for another. It is where the parts of a node
// meet: the store writes the state, the agent what it observes, and all others read.
type Board struct {
	mu      sync.Mutex
	view    View
	changed chan struct{} // closed, and made anew, at every change
}

// NewBoard shows the view of an empty cloud.
func NewBoard() *Board { return &Board{view: NewView(), changed: make(chan struct{})} }

// View is the latest.
func (b *Board) View() View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

// SetState shows a state, unless it is older than the one shown.
func (b *Board) SetState(s *State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.rev > b.view.State.rev || b.view.State.rev == 0 {
		b.view.State = s
		b.wake()
	}
}

// Observe replaces the instances by what see makes of them. It must be quick and call nothing of the board's.
func (b *Board) Observe(see func(*Instances) *Instances) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next := see(b.view.Instances); next != b.view.Instances {
		b.view.Instances = next
		b.wake()
	}
}

// Show shows a view as a whole, on a board that nobody else writes to.
func (b *Board) Show(v View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v != b.view {
		b.view = v
		b.wake()
	}
}

func (b *Board) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Changed returns a view other than old, at once where it is there already; an error only when ctx ends.
func (b *Board) Changed(ctx context.Context, old View) (View, error) {
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
