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

// DefaultAuditLines is how many audit lines are kept at least: about 8 MB. Export those to be kept longer.
const DefaultAuditLines = 20_000

// Results of a Line. Others are told by who records them: "exit 3".
const (
	ResultDone    = "done"
	ResultRefused = "refused"
)

// Line is a line of the audit log: who did what to which object, and whether that was allowed.
type Line struct {
	N    uint64         `json:"n"` // from 1, without gaps
	Time time.Time      `json:"time"`
	Rev  cloud.Revision `json:"rev,omitempty"` // that it made; 0 where nothing was changed
	cloud.Actor
	Verb   string `json:"verb"`
	Object string `json:"object,omitempty"`
	Result string `json:"result"`
	Count  int    `json:"count,omitempty"` // of refusals that this line stands for, where more than one
	Prev   string `json:"prev,omitempty"`  // the SHA-256 of the line before, as it is stored, in hex
}

// maxText bounds the texts of a line, in bytes: callers choose some of them.
const maxText = 256

func (l Line) encode() []byte {
	for _, text := range []*string{&l.Name, (*string)(&l.Role), &l.Source, &l.RequestID, &l.Verb, &l.Object, &l.Result} {
		if len(*text) > maxText {
			*text = strings.ToValidUTF8((*text)[:maxText], "") + "…"
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // only a year beyond 9999 does that
	}
	return b
}

func hashOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

const (
	auditPrefix = "audit/"
	// auditBlock is how many lines are read at once: a prefix is all that engines list by, and lines with
	// the same number but for the last two digits have one.
	auditBlock = 100
)

func lineKey(n uint64) string  { return fmt.Sprintf("%s%016d", auditPrefix, n) }
func blockKey(n uint64) string { return strings.TrimSuffix(lineKey(n-n%auditBlock), "00") }

// Audit yields the lines after number n, 0 for all that are kept, in order, and with follow goes on with
// new ones until ctx ends. It checks the chain as it goes, and ends with an error of code Internal at
// the first line that is missing or is not what was written.
func (s *Store) Audit(ctx context.Context, n uint64, follow bool) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		r := reader{store: s, n: n} // knows no hash yet: the first line it reads has none to be compared with
		err := r.read(ctx, follow, func(l Line) bool { return yield(l, nil) })
		if err != nil && !errors.Is(err, errStop) && ctx.Err() == nil {
			yield(Line{}, err)
		}
	}
}
