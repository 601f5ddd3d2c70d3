package dnsd

import (
	"iter"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// maxName is the longest name in wire form, in bytes (RFC 1035, section 2.3.4).
const maxName = 255

// wireName converts a host name to wire form and lower case: "micro.test" is "\x05micro\x04test\x00". A
// trailing dot is allowed. Labels have letters, digits, hyphens and underscores; the first may be "*".
func wireName(host string) ([]byte, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	wire := make([]byte, 0, len(host)+2)
	for i, label := range strings.Split(host, ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, cloud.Errorf(cloud.Invalid, "name %q: each label must have 1 to 63 characters", host)
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

// lastLabels returns the last n labels of a wire name.
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

// treeKey appends the labels of a wire name to key in reverse order, without the last origin labels. So the
// key of a name is a prefix of the keys of all names below it: "a.b.micro.test" with origin 2 is
// "\x01b\x01a". Labels have lengths instead of separators, because a label may contain any byte.
func treeKey(key, wire []byte, origin int) []byte {
	var offsets [128]uint8
	n := 0
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		offsets[n] = uint8(i)
		n++
	}
	for n -= origin; n > 0; n-- {
		label := wire[offsets[n-1]:]
		key = append(key, label[:label[0]+1]...)
	}
	return key
}

// hostKey returns the treeKey of a host name in a domain, or false if the host is not in the domain.
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

// wireText converts a wire name made by wireName back to text.
func wireText(wire []byte) string {
	var text []byte
	for i := 0; wire[i] != 0; i += int(wire[i]) + 1 {
		if i > 0 {
			text = append(text, '.')
		}
		text = append(text, wire[i+1:i+1+int(wire[i])]...)
	}
	return string(text)
}
