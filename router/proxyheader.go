package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol (haproxy.org, proxy-protocol.txt, versions 1 and 2): a proxy that passes bytes on begins every
// connection with a header that says whose they are. Whether there is one is agreed on by configuration and never
// guessed, for else a client could write one itself.

const (
	// maxProxyV1 is the longest header of version 1.
	maxProxyV1 = 107
	// maxProxyV2 bounds the addresses and extensions of a header of version 2.
	maxProxyV2 = 4096
)

var (
	proxyV2      = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errNoProxy   = errors.New("the proxy sent no PROXY header")
	errProxy     = errors.New("the PROXY header is not valid")
	errProxySize = errors.New("the PROXY header is too long")
)

// proxyHeader is what a PROXY header says. Without a client the connection is the proxy's own, such as its health
// check.
type proxyHeader struct {
	client netip.AddrPort
	tls    bool // the client speaks TLS with the proxy
}

// readProxyHeader reads the PROXY header of a connection from a proxy that has to send one, and goes by what it
// says from then on.
func (s *session) readProxyHeader() error {
	if !containsAddr(s.r.proxyProtocol, s.peer.Addr()) {
		return nil
	}
	h, err := parseProxyHeader(s.accepted)
	if err != nil || !h.client.IsValid() {
		return err
	}
	s.become(s.r, h.client)
	s.name(s.r)
	if h.tls {
		s.scheme = "https"
	}
	if !s.r.conns.move(s) {
		return errCrowded
	}
	return nil
}

// parseProxyHeader reads a header, and not a byte more.
func parseProxyHeader(r io.Reader) (proxyHeader, error) {
	var b [maxProxyV1]byte
	n := len(proxyV2)
	if _, err := io.ReadFull(r, b[:n]); err != nil {
		return proxyHeader{}, errors.Join(errNoProxy, err)
	}
	switch {
	case bytes.Equal(b[:n], proxyV2):
		return readProxyV2(r)
	case !bytes.HasPrefix(b[:n], []byte("PROXY ")):
		return proxyHeader{}, errNoProxy
	}
	for ; n < len(b); n++ {
		if b[n-1] == '\n' {
			break
		}
		if _, err := io.ReadFull(r, b[n:n+1]); err != nil {
			return proxyHeader{}, errors.Join(errProxy, err)
		}
	}
	line, ok := bytes.CutSuffix(b[:n], []byte("\r\n"))
	if !ok {
		return proxyHeader{}, errProxy
	}
	return parseProxyV1(string(line))
}

// parseProxyV1 reads "PROXY TCP4 192.0.2.1 192.0.2.2 56324 80".
func parseProxyV1(line string) (proxyHeader, error) {
	part := strings.Split(line, " ")
	if part[1] == "UNKNOWN" {
		return proxyHeader{}, nil
	}
	if len(part) != 6 || part[1] != "TCP4" && part[1] != "TCP6" {
		return proxyHeader{}, errProxy
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		a, err := netip.ParseAddr(part[2+i])
		port, portErr := strconv.ParseUint(part[4+i], 10, 16)
		if err != nil || portErr != nil || a.Zone() != "" || a.Is4() != (part[1] == "TCP4") || strconv.Itoa(int(port)) != part[4+i] {
			return proxyHeader{}, errProxy
		}
		ends[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return proxyHeader{client: ends[0]}, nil
}

// Parts of a header of version 2.
const (
	proxyLocal   = 0x20 // version 2, the proxy's own connection
	proxyCommand = 0x21 // version 2, somebody else's
	proxyTCP4    = 0x11
	proxyTCP6    = 0x21
	proxyUnix    = 0x31

	proxyCRC = 0x03 // type of an extension
	proxySSL = 0x20
)

func readProxyV2(r io.Reader) (proxyHeader, error) {
	head := append(make([]byte, 0, len(proxyV2)+4), proxyV2...)[:len(proxyV2)+4]
	rest := head[len(proxyV2):]
	if _, err := io.ReadFull(r, rest); err != nil {
		return proxyHeader{}, errors.Join(errProxy, err)
	}
	size := int(binary.BigEndian.Uint16(rest[2:]))
	if size > maxProxyV2 {
		return proxyHeader{}, errProxySize
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return proxyHeader{}, errors.Join(errProxy, err)
	}
	command, family := rest[0], rest[1]
	var h proxyHeader
	extensions := body
	addr := 0 // bytes of an address
	switch {
	case command == proxyLocal:
		return h, nil // whatever follows is to be ignored
	case command != proxyCommand:
		return h, errProxy
	case family == proxyTCP4:
		addr = 4
	case family == proxyTCP6:
		addr = 16
	case family == proxyUnix:
		return h, nil
	default:
		return h, nil // UNSPEC, or no TCP: the connection is taken as it is
	}
	if size < 2*addr+4 {
		return h, errProxy
	}
	a, _ := netip.AddrFromSlice(body[:addr])
	h.client = netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(body[2*addr:]))
	extensions = body[2*addr+4:]
	for len(extensions) > 0 {
		if len(extensions) < 3 {
			return proxyHeader{}, errProxy
		}
		kind, n := extensions[0], int(binary.BigEndian.Uint16(extensions[1:]))
		if n > len(extensions)-3 {
			return proxyHeader{}, errProxy
		}
		value := extensions[3 : 3+n]
		extensions = extensions[3+n:]
		switch kind {
		case proxySSL:
			h.tls = n > 0 && value[0]&1 != 0
		case proxyCRC:
			if n != 4 {
				return proxyHeader{}, errProxy
			}
			want := binary.BigEndian.Uint32(value)
			clear(value) // the sum is of the header with zeros in its own place
			table := crc32.MakeTable(crc32.Castagnoli)
			if crc32.Update(crc32.Checksum(head, table), table, body) != want {
				return proxyHeader{}, errProxy
			}
		}
	}
	return h, nil
}
