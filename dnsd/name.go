package dnsd

import (
	"iter"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// maxName is the longest a name can be in wire form (RFC 1035, section 2.3.4).
const maxName = 255

// wireName returns a host name in wire form and lower case: "micro.test" is "\x05micro\x04test\x00".
// A trailing dot is allowed. The labels are letters, digits, hyphens and underscores, the first may be "*".
func wireName(host string) ([]byte, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	wire := make([]byte, 0, len(host)+2)
	for i, label := range strings.Split(host, ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, cloud.Errorf(cloud.Invalid, "name %q: a label has 1 to 63 characters", host)
		}
		if !(i == 0 && label == "*") && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return nil, cloud.Errorf(cloud.Invalid, "name %q: label %q has characters other than a-z, 0-9 and -", host, label)
		}
		wire = append(append(wire, byte(len(label))), label...)
	}
	wire = append(wire, 0)
	if len(wire) > maxName {
		return nil, cloud.Errorf(cloud.Invalid, "name %q is longer than %d bytes", host, maxName)
	}
	return wire, nil
}

// countLabels returns the number of labels of a wire name, the root not counted.
func countLabels(wire []byte) int {
	n := 0
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		n++
	}
	return n
}

// lastLabels returns the end of a wire name that has n labels.
func lastLabels(wire []byte, n int) []byte {
	for extra := countLabels(wire) - n; extra > 0; extra-- {
		wire = wire[wire[0]+1:]
	}
	return wire
}

// labels yields the labels of a key.
func labels(key []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(key) > 0 {
			end := 1 + int(key[0])
			if !yield(key[1:end]) {
				return
			}
			key = key[end:]
		}
	}
}

// treeKey returns the labels of a wire name below an origin of so many labels, the outermost first, each
// with its length: what an ancestor's key is a prefix of. For "a.b.micro.test" in "micro.test" that is
// "\x01b\x01a". Lengths instead of separators because a label may hold any byte.
func treeKey(key, wire []byte, origin int) []byte {
	var at [128]uint8
	n := 0
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		at[n] = uint8(i)
		n++
	}
	for n -= origin; n > 0; n-- {
		label := wire[at[n-1]:]
		key = append(key, label[:label[0]+1]...)
	}
	return key
}

// hostKey is treeKey for a host name under a domain; false where it does not lie in it.
func hostKey(host, domain string) ([]byte, bool) {
	wire, err := wireName(host)
	if err != nil {
		return nil, false
	}
	host, domain = strings.ToLower(strings.TrimSuffix(host, ".")), strings.TrimSuffix(domain, ".")
	if host != domain && !strings.HasSuffix(host, "."+domain) {
		return nil, false
	}
	return treeKey(nil, wire, strings.Count(domain, ".")+1), true
}

// hostText is the text of a wire name that wireName made.
func hostText(wire []byte) string {
	var text []byte
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		if i > 0 {
			text = append(text, '.')
		}
		text = append(text, wire[i+1:i+1+int(wire[i])]...)
	}
	return string(text)
}
