package dnsd

// neverForwarded reports whether a name belongs to those that no server on the internet may be asked for
// (RFC 6761 for test and invalid, RFC 7686 for onion, RFC 6762, section 22 for local). Asking would only
// tell strangers what runs here.
func neverForwarded(name []byte) bool {
	last := 0
	for i := 0; name[i] != 0; i += int(name[i]) + 1 {
		last = i
	}
	switch string(name[last:]) {
	case "\x04test\x00", "\x07invalid\x00", "\x05onion\x00", "\x05local\x00":
		return true
	}
	return false
}
