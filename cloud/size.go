package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

var units = []struct {
	suffix string
	bytes  int64
}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"B", 1}}

// ParseSize reads "512M", "1GB", "64k": a number and a unit in any case, powers of 1024. It returns bytes.
func ParseSize(s string) (int64, error) {
	t := strings.ToUpper(strings.TrimSpace(s))
	for _, u := range units {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		f, err := parseNumber(strings.TrimSpace(num))
		if err != nil || f < 0 || math.IsInf(f, 0) || math.IsNaN(f) || f*float64(u.bytes) > 1<<62 {
			break
		}
		return int64(f * float64(u.bytes)), nil
	}
	if _, err := parseNumber(t); err == nil {
		return 0, Errorf(Invalid, "size %q needs a unit, e.g. 512M", s).WithHint("units are B, K, M, G and T")
	}
	return 0, Errorf(Invalid, "size %q is not a number with a unit, e.g. 512M", s).WithHint("units are B, K, M, G and T")
}

// parseNumber reads digits with a point, and none of the other forms that Go knows: "1e3", "0x1p4", "inf".
func parseNumber(s string) (float64, error) {
	if strings.Trim(s, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

// FormatSize writes bytes as ParseSize reads them, exactly where it can: "512M", "1G".
func FormatSize(n int64) string {
	for _, u := range units[4:] {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	for _, u := range units[4:] {
		if n >= u.bytes {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(u.bytes), u.suffix)
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
