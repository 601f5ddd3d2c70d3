package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// Opcodes and close codes of RFC 6455, sections 5.2 and 7.4.1.
const (
	opText, opBinary, opClose, opPing, opPong = 1, 2, 8, 9, 10
	closeGoingAway                            = 1001
)

// ws echoes messages, and closes with 1001 when the app is asked to stop.
func (a *app) ws(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		http.Error(w, "a WebSocket is spoken here", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.sockets.Add(1)
	defer a.sockets.Done()
	defer conn.Close()
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(accept[:])+"\r\n\r\n")

	done := make(chan struct{})
	go func() {
		defer close(done)
		echo(conn, buffered.Reader)
	}()
	select {
	case <-done:
	case <-a.leaving.Done():
		conn.Write(frame(opClose, binary.BigEndian.AppendUint16(nil, closeGoingAway)))
	}
}

func echo(conn net.Conn, in *bufio.Reader) {
	for {
		opcode, payload, err := readFrame(in)
		if err != nil {
			return
		}
		switch opcode {
		case opText, opBinary:
			_, err = conn.Write(frame(opcode, payload))
		case opPing:
			_, err = conn.Write(frame(opPong, payload))
		case opClose:
			conn.Write(frame(opClose, payload))
			return
		}
		if err != nil {
			return
		}
	}
}

// readFrame reads one unfragmented frame of a client.
func readFrame(in *bufio.Reader) (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	switch size {
	case 126:
		var n uint16
		err = binary.Read(in, binary.BigEndian, &n)
		size = uint64(n)
	case 127:
		err = binary.Read(in, binary.BigEndian, &size)
	}
	if err != nil {
		return 0, nil, err
	}
	if head[1]&0x80 == 0 || size > 1<<20 {
		return 0, nil, errors.New("a frame without mask or too long")
	}
	var mask [4]byte
	if _, err := io.ReadFull(in, mask[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(in, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0] & 0x0f, payload, nil
}

func frame(opcode byte, payload []byte) []byte {
	head := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return append(head, payload...)
}
