package boltkv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, version 2 (go.etcd.io/bbolt/internal/common: page.go, meta.go, bucket.go).
// Numbers are in the machine's order, which is little-endian wherever micro runs.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHead   = 16 // id u64, flags u16, count u16, overflow u32
	branchSize = 16 // pos u32, ksize u32, page u64
	leafSize   = 16 // flags u32, pos u32, ksize u32, vsize u32
	bucketHead = 16 // root u64, sequence u64
	metaSize   = 64 // magic, version, page size, flags u32; root bucket; freelist, pages, tx, checksum u64

	branchFlag, leafFlag, metaFlag, freelistFlag = 0x01, 0x02, 0x04, 0x10
	bucketFlag                                   = 0x01

	noFreelist = ^uint64(0)
	maxDepth   = 64
)

// head is a meta page: where a transaction's tree starts.
type head struct {
	root, freelist, pages, tx uint64
	pageSize                  int64
}

// checked is what a sound file is known by.
type checked struct {
	head
	// single is set where one of the two heads is damaged, and so perhaps the last transaction lost.
	single bool
}

// check reads a bbolt file of size bytes and reports the first fault that would lead bbolt astray: a
// damaged page, a page number out of the file, a page in use twice or in use and free. It never panics.
func check(r io.ReaderAt, size int64) (checked, error) {
	h, err := readHeads(r, size)
	if err != nil {
		return h, err
	}
	if int64(h.pages) > size/h.pageSize {
		return h, fmt.Errorf("the file is cut off: it has %d of %d bytes", size, int64(h.pages)*h.pageSize)
	}
	w := walk{r: r, head: h.head, used: make([]bool, h.pages)}
	w.used[0], w.used[1] = true, true
	if err := w.bucket(h.root, 0); err != nil {
		return h, err
	}
	return h, w.freelist()
}

func readHeads(r io.ReaderAt, size int64) (checked, error) {
	// The second head follows the first by one page, whose size only a head tells: try those there are.
	for pageSize := int64(1024); pageSize <= 1<<16; pageSize *= 2 {
		a, errA := readHead(r, 0, pageSize)
		b, errB := readHead(r, 1, pageSize)
		switch {
		case errA == nil && errB == nil:
			if b.tx > a.tx {
				a = b
			}
			return checked{head: a}, nil
		case errA == nil:
			return checked{a, true}, nil
		case errB == nil:
			return checked{b, true}, nil
		}
	}
	return checked{}, fmt.Errorf("neither head of the file (%d bytes) is sound", size)
}

func readHead(r io.ReaderAt, id, pageSize int64) (head, error) {
	var b [pageHead + metaSize]byte
	if _, err := r.ReadAt(b[:], id*pageSize); err != nil {
		return head{}, err
	}
	le, m := binary.LittleEndian, b[pageHead:]
	sum := fnv.New64a()
	sum.Write(m[:56])
	h := head{
		pageSize: int64(le.Uint32(m[8:])),
		root:     le.Uint64(m[16:]),
		freelist: le.Uint64(m[32:]),
		pages:    le.Uint64(m[40:]),
		tx:       le.Uint64(m[48:]),
	}
	switch {
	case le.Uint32(m) != boltMagic, le.Uint32(m[4:]) != boltVersion, sum.Sum64() != le.Uint64(m[56:]):
		return h, errors.New("damaged head")
	case h.pageSize != pageSize, h.pages < 3, h.pages > 1<<40:
		return h, errors.New("impossible head")
	}
	return h, nil
}

// walk visits every page that a head leads to.
type walk struct {
	r io.ReaderAt
	head
	used []bool
}

// page reads page id with its overflow, and marks it as in use.
func (w *walk) page(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("page %d is not one of %d", id, w.pages)
	}
	var headBytes [pageHead]byte
	if _, err := w.r.ReadAt(headBytes[:], int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	more := uint64(binary.LittleEndian.Uint32(headBytes[12:]))
	if binary.LittleEndian.Uint64(headBytes[:]) != id || more >= w.pages-id {
		return nil, fmt.Errorf("page %d is damaged", id)
	}
	for i := id; i <= id+more; i++ {
		if w.used[i] {
			return nil, fmt.Errorf("page %d is in use twice", i)
		}
		w.used[i] = true
	}
	p := make([]byte, int64(more+1)*w.pageSize)
	if _, err := w.r.ReadAt(p, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return p, nil
}

// bucket visits the tree below a page.
func (w *walk) bucket(id uint64, depth int) error {
	p, err := w.page(id)
	if err != nil {
		return err
	}
	if err := w.tree(p, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *walk) tree(p []byte, depth int) error {
	if depth > maxDepth {
		return errors.New("the tree is too deep")
	}
	le := binary.LittleEndian
	flags, count := le.Uint16(p[8:]), int(le.Uint16(p[10:]))
	if (flags != branchFlag && flags != leafFlag) || flags == branchFlag && count == 0 {
		return fmt.Errorf("is neither branch nor leaf (flags %#x, %d entries)", flags, count)
	}
	if pageHead+count*leafSize > len(p) {
		return fmt.Errorf("%d entries do not fit", count)
	}
	var last []byte
	for i := range count {
		at := pageHead + i*leafSize
		e := p[at:]
		var key, value []byte
		var ok bool
		if flags == branchFlag {
			key, ok = slice(p, at, le.Uint32(e), le.Uint32(e[4:]))
		} else {
			key, ok = slice(p, at, le.Uint32(e[4:]), le.Uint32(e[8:]))
			if ok {
				value, ok = slice(p, at, le.Uint32(e[4:])+uint32(len(key)), le.Uint32(e[12:]))
			}
		}
		if !ok {
			return fmt.Errorf("entry %d reaches out of the page", i)
		}
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("entry %d is out of order", i)
		}
		last = key
		var err error
		switch {
		case flags == branchFlag:
			err = w.bucket(le.Uint64(e[8:]), depth+1)
		case le.Uint32(e)&bucketFlag != 0:
			err = w.sub(value, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sub visits a bucket in a leaf: it names a page, or a small one holds the page itself.
func (w *walk) sub(value []byte, depth int) error {
	if len(value) < bucketHead {
		return errors.New("a bucket is cut off")
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.bucket(root, depth)
	}
	if len(value) < bucketHead+pageHead {
		return errors.New("a bucket is cut off")
	}
	return w.tree(value[bucketHead:], depth)
}

// freelist looks for free pages that are in use: bbolt would overwrite them.
func (w *walk) freelist() error {
	if w.head.freelist == noFreelist {
		return nil
	}
	p, err := w.page(w.head.freelist)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	count, ids := uint64(le.Uint16(p[10:])), p[pageHead:]
	if count == 0xFFFF {
		count, ids = le.Uint64(ids), ids[8:]
	}
	if le.Uint16(p[8:]) != freelistFlag || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d: the list of free pages is damaged", w.head.freelist)
	}
	for i := range count {
		id := le.Uint64(ids[8*i:])
		if id < 2 || id >= w.pages || w.used[id] {
			return fmt.Errorf("page %d is free and in use", id)
		}
		w.used[id] = true
	}
	return nil
}

// slice returns n bytes at pos behind at, and whether they are in the page.
func slice(p []byte, at int, pos, n uint32) ([]byte, bool) {
	from := uint64(at) + uint64(pos)
	to := from + uint64(n)
	if to > uint64(len(p)) {
		return nil, false
	}
	return p[from:to], true
}
