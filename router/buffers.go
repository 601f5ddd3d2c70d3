package router

import "sync"

const (
	smallBlock = 4 << 10
	largeBlock = 64 << 10
	// blockTail is capacity behind a block for what ends a chunk: nothing is read into it.
	blockTail = 64
)

// givenBack is called with the memory of every buffer that is returned, before it can be reused. Tests overwrite that memory,
// which reveals references that outlive their buffer.
var givenBack func([]byte)

// block is a buffer. Connections hold one only while it has data, not while they wait.
type block struct{ b []byte }

// buffers are the router's free blocks.
type buffers struct{ small, large sync.Pool }

func (p *buffers) get(size int) *block {
	pool := &p.small
	if size > smallBlock {
		pool, size = &p.large, largeBlock
	} else {
		size = smallBlock
	}
	if b, ok := pool.Get().(*block); ok {
		return b
	}
	return &block{make([]byte, size, size+blockTail)}
}

func (p *buffers) put(b *block) {
	if b == nil {
		return
	}
	if givenBack != nil {
		givenBack(b.b[:cap(b.b)])
	}
	if len(b.b) == smallBlock {
		p.small.Put(b)
	} else {
		p.large.Put(b)
	}
}
