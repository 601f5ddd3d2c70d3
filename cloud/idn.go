package cloud

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// toASCII returns a host name with letters beyond a-z as it is in DNS and in requests: "bücher.example" is
// "xn--bcher-kva.example" (RFC 5891, and UTS 46 for upper case and the like). A wildcard's "*." stays.
func toASCII(host string) (string, error) {
	if isASCII(host) {
		return host, nil
	}
	bare, wildcard := strings.CutPrefix(host, "*.")
	ascii, err := idna.Lookup.ToASCII(bare)
	if err == nil && !utf8.ValidString(host) {
		err = errors.New("it is not UTF-8")
	}
	if err != nil {
		return "", Errorf(Invalid, "host %q has characters that no host name may have: %w", host, err)
	}
	if wildcard {
		ascii = "*." + ascii
	}
	return ascii, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Unicode returns the host in its own letters, "" where those are a-z. It is for people alone: letters of different
// scripts may look the same.
func (h Host) Unicode() string {
	if !strings.Contains(string(h), "xn--") {
		return ""
	}
	bare, wildcard := strings.CutPrefix(string(h), "*.")
	text, err := idna.Display.ToUnicode(bare)
	if again, asciiErr := toASCII(text); err != nil || text == bare || asciiErr != nil || again != bare {
		return ""
	}
	if wildcard {
		text = "*." + text
	}
	return text
}

// Shown is the host as lists show it: "xn--bcher-kva.example (bücher.example)".
func (h Host) Shown() string {
	if text := h.Unicode(); text != "" {
		return string(h) + " (" + text + ")"
	}
	return string(h)
}
