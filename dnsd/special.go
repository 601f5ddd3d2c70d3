package dnsd

// specialUse are zones that are never forwarded, and in which no name exists. A forwarded query would tell
// strangers what runs here (RFC 6761 for "test" and "invalid", RFC 7686 for "onion", RFC 6762, section 22 for
// "local", RFC 9476 for "alt"), or let clients bypass this server (RFC 9462, section 6.4 for "resolver.arpa").
var specialUse = []authority{
	{origin: []byte("\x04test\x00")}, {origin: []byte("\x07invalid\x00")}, {origin: []byte("\x05onion\x00")},
	{origin: []byte("\x05local\x00")}, {origin: []byte("\x03alt\x00")}, {origin: []byte("\x08resolver\x04arpa\x00")},
}

// answerSpecialUse answers for names in the special-use zones, and returns false for other names. The apex of
// each zone exists, because the private domain may be below it.
func (z *Zone) answerSpecialUse(m *message) bool {
	for i := range specialUse {
		if !specialUse[i].contains(m.q.Name()) {
			continue
		}
		a := z.internal
		a.origin = specialUse[i].origin
		found, apex := absent, m.q.nameLen == len(a.origin)
		if apex {
			found = emptyNonTerminal
		}
		if m.answerCommon(&a, apex, found) {
			m.addSOAIfEmpty(&a)
		}
		return true
	}
	return false
}
