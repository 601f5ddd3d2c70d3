package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// extent is a part of a file that has data. All between is holes, which read as zeros and take no room.
type extent struct{ offset, length int64 }

// extents returns where a file has data, in order.
func extents(file *os.File, size int64) (data []extent, err error) {
	fd := int(file.Fd())
	for at := int64(0); at < size; {
		begin, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole is left
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		end, err := unix.Seek(fd, begin, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		if begin >= size {
			break
		}
		end = min(end, size)
		data = append(data, extent{begin, end - begin})
		at = end
	}
	return data, nil
}

// The content of a sparse file in an archive is the number of its extents, the offset and length of each, all as 64 bits with
// the highest byte first, and then their data.
const word = 8

func sizeOf(data []extent) int64 {
	size := int64(word)
	for _, e := range data {
		size += 2*word + e.length
	}
	return size
}

func writeMap(w io.Writer, data []extent) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(data)))
	for _, e := range data {
		b = binary.BigEndian.AppendUint64(b, uint64(e.offset))
		b = binary.BigEndian.AppendUint64(b, uint64(e.length))
	}
	_, err := w.Write(b)
	return err
}

// readSparse writes the content of a sparse file to file, whose size is to be size.
func readSparse(file *os.File, r io.Reader, size int64) error {
	var count uint64
	if err := binary.Read(r, binary.BigEndian, &count); err != nil {
		return err
	}
	// The map is read as it comes: what it says of its length need not be true.
	var data []extent
	for range count {
		var e [2]uint64
		if err := binary.Read(r, binary.BigEndian, &e); err != nil {
			return err
		}
		at := extent{int64(e[0]), int64(e[1])}
		if at.offset < 0 || at.length < 0 || at.offset > size-at.length {
			return fmt.Errorf("the map of a sparse file has data at %d beyond its size of %d", e[0], size)
		}
		data = append(data, at)
	}
	for _, e := range data {
		if _, err := io.CopyN(io.NewOffsetWriter(file, e.offset), r, e.length); err != nil {
			return err
		}
	}
	return file.Truncate(size)
}
