package boltkv

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// A record is a value in the file: a checksum, the revision that wrote it, and the value itself. The checksum
// covers the key too, so that a record under a wrong key is noticed.
const recordHead = 4 + 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeRecord(key string, rev int64, value []byte) []byte {
	b := make([]byte, recordHead, recordHead+len(value))
	binary.BigEndian.PutUint64(b[4:], uint64(rev))
	b = append(b, value...)
	binary.BigEndian.PutUint32(b, checksum([]byte(key), b))
	return b
}

// decodeRecord returns the pair of a record. It copies the bytes, because bbolt's are valid only inside the
// transaction.
func (db *DB) decodeRecord(key, b []byte) (kv.Pair, error) {
	if !recordIsIntact(key, b) {
		return kv.Pair{}, db.corrupt(cloud.Errorf(cloud.Internal, "record %q has a wrong checksum", key))
	}
	return kv.Pair{
		Key:   string(key),
		Value: append([]byte{}, b[recordHead:]...),
		Rev:   recordRev(b),
	}, nil
}

func recordIsIntact(key, b []byte) bool {
	return len(b) >= recordHead && binary.BigEndian.Uint32(b) == checksum(key, b)
}

func recordRev(b []byte) int64 { return int64(binary.BigEndian.Uint64(b[4:])) }

func checksum(key, record []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, record[4:])
}
