package logs

import (
	"fmt"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// pending are lines of micro's own that wait to be written together. It has a lock of its own: who adds a
// line, such as the router for every request, must not wait for a disk.
type pending struct {
	mu   sync.Mutex
	logs map[logKey]*batch
}

// batch is what waits of one log.
type batch struct {
	records []byte
	dropped int
	spare   []byte // what was written last time, to be used again
}

const (
	// maxPending is how many bytes of one log wait for a flush; what is more is counted and dropped.
	maxPending = 4 << 20
	// maxSpare is the largest buffer that is kept for the next time.
	maxSpare = 64 << 10
)

// add encodes a line whose text is what the function appends.
func (p *pending) add(app cloud.AppRef, line Line, text func([]byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := logKey{app, line.Stream == Router}
	b := p.logs[key]
	if b == nil {
		b = &batch{}
		p.logs[key] = b
	}
	if len(b.records) >= maxPending {
		b.dropped++
		return
	}
	if b.records == nil {
		b.records, b.spare = b.spare[:0], nil
	}
	b.records = append(text(line.appendHead(b.records)), '\n')
}

// take hands every batch's records to use, which must not keep them, and says how many lines were dropped
// since the last time. While use runs others may add.
func (p *pending) take(use func(key logKey, records []byte, dropped int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, b := range p.logs {
		records, dropped := b.records, b.dropped
		if len(records) == 0 {
			delete(p.logs, key) // an app that has been quiet keeps no memory
			continue
		}
		b.records, b.dropped = nil, 0
		p.mu.Unlock()
		use(key, records, dropped)
		p.mu.Lock()
		if cap(records) <= maxSpare {
			b.spare = records
		}
	}
}

func (p *pending) drop(app cloud.AppRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.logs, logKey{app, false})
	delete(p.logs, logKey{app, true})
}

// droppedText is the line that stands for those that were dropped.
func droppedText(n int) string {
	return fmt.Sprintf("%d lines were dropped: they came faster than they could be written", n)
}
