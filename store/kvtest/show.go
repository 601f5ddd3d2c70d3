package kvtest

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/store/kv"
)

// showPairs formats pairs as "a=1@7 b=2@9".
func showPairs(pairs []kv.Pair) string {
	var words []string
	for _, p := range pairs {
		words = append(words, fmt.Sprintf("%s=%s@%d", p.Key, p.Value, p.Rev))
	}
	return strings.Join(words, " ")
}

// showBatches formats batches as "7: a=1 -b; 8: c=".
func showBatches(batches []kv.Batch) string {
	var lines []string
	for _, b := range batches {
		var line strings.Builder
		fmt.Fprintf(&line, "%d:", b.Rev)
		for _, c := range b.Changes {
			if c.Value == nil {
				line.WriteString(" -" + c.Key)
				continue
			}
			fmt.Fprintf(&line, " %s=%s", c.Key, c.Value)
		}
		lines = append(lines, line.String())
	}
	return strings.Join(lines, "; ")
}
