package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// DefaultAuditLines is how many audit lines are kept at least: about 8 MB. To keep lines longer, export them.
const DefaultAuditLines = 20_000

// Results of a Line. Callers of Record may use others, such as "exit 3".
const (
	ResultDone    = "done"
	ResultRefused = "refused"
)

// Line is a line of the audit log: who did what to which object, and whether that was allowed.
type Line struct {
	N    uint64         `json:"n"` // from 1, without gaps
	Time time.Time      `json:"time"`
	Rev  cloud.Revision `json:"rev,omitempty"` // the revision that the change made; 0 if nothing was changed
	cloud.Actor
	Verb   string `json:"verb"`
	Object string `json:"object,omitempty"`
	Result string `json:"result"`
	Count  int    `json:"count,omitempty"` // number of refusals that share this line, if more than one
	Prev   string `json:"prev,omitempty"`  // SHA-256 of the previous line as stored, in hex
}

// maxText limits the texts of a line, in bytes, because callers choose some of them.
const maxText = 256

func (l Line) encode() []byte {
	for _, text := range []*string{&l.Name, (*string)(&l.Role), &l.Source, &l.RequestID, &l.Verb, &l.Object, &l.Result} {
		if len(*text) > maxText {
			*text = strings.ToValidUTF8((*text)[:maxText], "") + "…"
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // impossible, except for a year beyond 9999
	}
	return b
}

func hashOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

const (
	auditPrefix = "audit/"
	// auditBlock is how many lines are read at once. Engines list by prefix, and lines whose numbers differ
	// only in the last two digits have a common prefix.
	auditBlock = 100
)

func lineKey(n uint64) string  { return fmt.Sprintf("%s%016d", auditPrefix, n) }
func blockKey(n uint64) string { return strings.TrimSuffix(lineKey(n-n%auditBlock), "00") }

// Audit yields the audit lines after number n in order; 0 yields all that are kept. With follow, it then
// yields new lines until ctx ends. It verifies the chain of hashes, and ends with an error of code Internal
// at the first line that is missing or was changed.
func (s *Store) Audit(ctx context.Context, n uint64, follow bool) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		r := reader{store: s, n: n} // without a hash: the first line has nothing to be compared with
		err := r.read(ctx, follow, func(l Line) bool { return yield(l, nil) })
		if err != nil && !errors.Is(err, errStop) && ctx.Err() == nil {
			yield(Line{}, err)
		}
	}
}
