package router

import "sync"

const (
	// tinyBlock has room for the heads of most requests. It is for connections that hold a block while they wait.
	tinyBlock  = 1 << 10
	smallBlock = 4 << 10
	largeBlock = 64 << 10
	// blockTail is capacity behind a block for what ends a chunk: nothing is read into it.
	blockTail = 64
)

// givenBack is called with the memory of every buffer that is returned, before it can be reused. Tests overwrite that memory,
// which reveals references that outlive their buffer.
var givenBack func([]byte)

// block is a buffer. Connections hold one only while it has data, not while they wait; but for streams of HTTP/3, which can't know
// whether there is something to read without reading it.
type block struct{ b []byte }

// buffers are the router's free blocks.
type buffers struct{ tiny, small, large sync.Pool }

func (p *buffers) get(size int) *block {
	var pool *sync.Pool
	switch {
	case size <= tinyBlock:
		pool, size = &p.tiny, tinyBlock
	case size <= smallBlock:
		pool, size = &p.small, smallBlock
	default:
		pool, size = &p.large, largeBlock
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
	switch len(b.b) {
	case tinyBlock:
		p.tiny.Put(b)
	case smallBlock:
		p.small.Put(b)
	default:
		p.large.Put(b)
	}
}
