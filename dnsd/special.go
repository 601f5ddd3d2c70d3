package dnsd

// unused are the zones that no server on the internet may be asked for, and in which nothing exists: asking
// would only tell strangers what runs here (RFC 6761 for "test" and "invalid", RFC 7686 for "onion", RFC
// 6762, section 22 for "local", RFC 9476 for "alt"), or lead clients round us (RFC 9462, section 6.4 for
// "resolver.arpa").
var unused = []authority{
	{origin: []byte("\x04test\x00")}, {origin: []byte("\x07invalid\x00")}, {origin: []byte("\x05onion\x00")},
	{origin: []byte("\x05local\x00")}, {origin: []byte("\x03alt\x00")}, {origin: []byte("\x08resolver\x04arpa\x00")},
}

// answerUnused answers for the zones in which nothing exists; false where the name is in none of them. Their
// tops exist: the private domain may be below one.
func (z *Zone) answerUnused(m *message) bool {
	for i := range unused {
		if !unused[i].holds(m.q.Name()) {
			continue
		}
		a := z.internal
		a.origin = unused[i].origin
		found, top := absent, m.q.nameLen == len(a.origin)
		if top {
			found = between
		}
		if m.begin(&a, top, found) {
			m.end(&a)
		}
		return true
	}
	return false
}
