package cli

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns of a terminal a text takes: a line that is longer than the terminal is wide
// takes two of its lines, and what is drawn over it later misses one.
func columns(s string) (n int) {
	for _, r := range s {
		n += column(r)
	}
	return n
}

// column is 2 for characters of East Asian width and most emoji (Unicode's UAX 11), 0 for those that are
// put upon the one before.
func column(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	case width.Neutral, width.EastAsianAmbiguous, width.EastAsianNarrow, width.EastAsianHalfwidth:
	}
	return 1
}

// cut shortens a line to a number of columns.
func cut(s string, limit int) string {
	s = strings.ReplaceAll(s, "\t", " ")
	if limit <= 1 || columns(s) <= limit {
		return s
	}
	used := 0
	for i, r := range s {
		if used += column(r); used >= limit {
			return s[:i] + "…"
		}
	}
	return s
}
