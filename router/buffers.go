package router

import "sync"

const (
	smallBlock = 4 << 10
	largeBlock = 64 << 10
	// blockTail is capacity behind a block for what ends a chunk: nothing is read into it.
	blockTail = 64
)

// givenBack is called with the memory of every buffer that is given back, before anybody else can get it.
// Tests overwrite it, so that a reference that outlives its buffer shows.
var givenBack func([]byte)

// block is a buffer that is held only while there is something in it: a connection that waits has none.
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
