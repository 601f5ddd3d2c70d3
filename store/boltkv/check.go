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
// Numbers have the machine's byte order, which is little-endian wherever micro runs.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHead   = 16 // id u64, flags u16, count u16, overflow u32
	entrySize  = 16 // branch: pos u32, ksize u32, page u64; leaf: flags u32, pos u32, ksize u32, vsize u32
	bucketHead = 16 // root u64, sequence u64
	metaSize   = 64 // magic, version, page size, flags u32; root bucket; freelist, pages, tx, checksum u64

	branchFlag, leafFlag, freelistFlag = 0x01, 0x02, 0x10
	bucketFlag                         = 0x01

	noFreelist = ^uint64(0)
	maxDepth   = 64
)

// head is a meta page, which has the root of a transaction's tree.
type head struct {
	root, freelist, pages, tx uint64
	pageSize                  int64
}

// checkResult describes an intact file.
type checkResult struct {
	head
	// headDamaged is set if one of the two heads is damaged, so that the last transaction may be lost.
	headDamaged bool
}

// check reads a bbolt file of size bytes and returns the first fault that bbolt would not notice: a damaged
// page, a page number outside the file, a page that is used twice or is both used and free. It never panics.
func check(r io.ReaderAt, size int64) (checkResult, error) {
	h, err := readHeads(r, size)
	if err != nil {
		return h, err
	}
	if int64(h.pages) > size/h.pageSize {
		return h, fmt.Errorf("the file is truncated: it has %d of %d bytes", size, int64(h.pages)*h.pageSize)
	}
	w := walker{r: r, head: h.head, used: make([]bool, h.pages)}
	w.used[0], w.used[1] = true, true
	if err := w.tree(h.root, keyRange{}, 0); err != nil {
		return h, err
	}
	return h, w.freelist()
}

func readHeads(r io.ReaderAt, size int64) (checkResult, error) {
	// The second head is one page after the first. Only a head has the page size, so try all possible sizes.
	for pageSize := int64(1024); pageSize <= 1<<16; pageSize *= 2 {
		a, errA := readHead(r, 0, pageSize)
		b, errB := readHead(r, 1, pageSize)
		switch {
		case errA == nil && errB == nil:
			if b.tx > a.tx {
				a = b
			}
			return checkResult{head: a}, nil
		case errA == nil:
			return checkResult{a, true}, nil
		case errB == nil:
			return checkResult{b, true}, nil
		}
	}
	return checkResult{}, fmt.Errorf("both heads of the file (%d bytes) are damaged", size)
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

// walker visits every page below a head.
type walker struct {
	r io.ReaderAt
	head
	used []bool
}

// page reads page id with its overflow pages, and marks them as used.
func (w *walker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("page %d is outside the file, which has %d pages", id, w.pages)
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
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		w.used[i] = true
	}
	p := make([]byte, int64(more+1)*w.pageSize)
	if _, err := w.r.ReadAt(p, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return p, nil
}

// keyRange is the range of keys that a page may have: from first to before end; nil is unbounded.
type keyRange struct{ first, end []byte }

func (k keyRange) contains(key []byte) bool {
	return bytes.Compare(k.first, key) <= 0 && (k.end == nil || bytes.Compare(key, k.end) < 0)
}

// tree checks the tree below a page, whose keys must be in a range.
func (w *walker) tree(id uint64, in keyRange, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d is too deep", id)
	}
	p, err := w.page(id)
	if err != nil {
		return err
	}
	if err := w.entries(p, in, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// entry is an entry of a branch, with a page, or of a leaf, with a value.
type entry struct {
	key, value []byte
	page       uint64
	bucket     bool
}

func (w *walker) entries(p []byte, in keyRange, depth int) error {
	entries, err := parse(p)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if !in.contains(e.key) || i > 0 && bytes.Compare(entries[i-1].key, e.key) >= 0 {
			return fmt.Errorf("entry %d is out of order", i)
		}
		switch {
		case e.value == nil:
			below := keyRange{e.key, in.end}
			if i+1 < len(entries) {
				below.end = entries[i+1].key
			}
			err = w.tree(e.page, below, depth+1)
		case e.bucket:
			err = w.bucket(e.value, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parse(p []byte) ([]entry, error) {
	le := binary.LittleEndian
	flags, count := le.Uint16(p[8:]), int(le.Uint16(p[10:]))
	if (flags != branchFlag && flags != leafFlag) || flags == branchFlag && count == 0 {
		return nil, fmt.Errorf("neither branch nor leaf (flags %#x, %d entries)", flags, count)
	}
	if pageHead+count*entrySize > len(p) {
		return nil, fmt.Errorf("%d entries do not fit", count)
	}
	entries := make([]entry, count)
	for i := range entries {
		at := pageHead + i*entrySize
		b, e := p[at:], &entries[i]
		var ok bool
		if flags == branchFlag {
			e.page = le.Uint64(b[8:])
			e.key, ok = slice(p, at, le.Uint32(b), le.Uint32(b[4:]))
		} else {
			e.bucket = le.Uint32(b)&bucketFlag != 0
			e.key, ok = slice(p, at, le.Uint32(b[4:]), le.Uint32(b[8:]))
			if ok {
				e.value, ok = slice(p, at, le.Uint32(b[4:])+uint32(len(e.key)), le.Uint32(b[12:]))
			}
		}
		if !ok {
			return nil, fmt.Errorf("entry %d extends beyond the page", i)
		}
	}
	return entries, nil
}

// bucket checks a bucket in a leaf. The value has the number of the bucket's root page, or a small bucket
// itself.
func (w *walker) bucket(value []byte, depth int) error {
	if len(value) < bucketHead || depth > maxDepth {
		return errors.New("a bucket is truncated, or too deep")
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.tree(root, keyRange{}, depth)
	}
	if len(value) < bucketHead+pageHead {
		return errors.New("a bucket is truncated")
	}
	return w.entries(value[bucketHead:], keyRange{}, depth)
}

// freelist checks that no free page is used: bbolt would overwrite it.
func (w *walker) freelist() error {
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
			return fmt.Errorf("page %d is both free and used", id)
		}
		w.used[id] = true
	}
	return nil
}

// slice returns the n bytes at offset at+pos, never nil, and whether they are inside the page.
func slice(p []byte, at int, pos, n uint32) ([]byte, bool) {
	from := uint64(at) + uint64(pos)
	to := from + uint64(n)
	if to > uint64(len(p)) {
		return nil, false
	}
	return p[from:to], true
}
