// Package backup writes backups of services and volumes to files, and reads them.
//
// A backup's file begins with a line that says what it is, and a header in JSON that anybody may read. Then come the data,
// encrypted with age (https://age-encryption.org/v1) for the cloud's key, together with a copy of the header. The last 256
// bytes are a trailer in JSON with the size of the data and the SHA-256 of all bytes before the trailer. So the file alone
// is enough to restore a service, with the key, and whoever has no key can still tell that it is whole.
//
// Invariant: in a place a backup has its name only once it is whole and durable. Reader returns io.EOF only at the end of a
// whole backup: one that is truncated, damaged, or for another key ends with an error that names it.
package backup
