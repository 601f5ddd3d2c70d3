package router

import (
	"bytes"
	"strconv"

	"github.com/protoduction/micro/router/h1"
)

// gRPC answers 200 whatever becomes of a call, and says in a field or trailer how it ended. An exchange is judged by
// that.

// noteCall keeps how a gRPC call ended, from the fields of an answer without a body or from its trailers.
func (x *exchange) noteCall(status []byte) {
	if n, err := strconv.ParseUint(string(status), 10, 8); err == nil {
		x.GRPCStatus = uint8(n)
	}
}

// isCall tells that the answer is gRPC's.
func (x *exchange) isCall() bool {
	kind := x.res.Lookup("content-type", 0)
	const grpc = "application/grpc"
	return len(kind) >= len(grpc) && h1.EqualFold(kind[:len(grpc)], grpc)
}

// noteTrailers looks for the end of a call in an answer's trailers.
func (x *exchange) noteTrailers(lines []byte) {
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if h1.EqualFold(name, "grpc-status") {
			x.noteCall(bytes.TrimSpace(value))
		}
	}
}

// class is the class of the answer's status, 0 to 5. That of a failed gRPC call is 5 where the app or what it needs
// failed, and 4 where the call was wrong.
func (x *Exchange) class() int {
	switch x.GRPCStatus {
	case 0:
		return min(max(x.Status/100, 0), 5)
	case 2, 4, 12, 13, 14, 15: // unknown, deadline exceeded, unimplemented, internal, unavailable, data loss
		return 5
	default:
		return 4
	}
}
