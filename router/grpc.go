package router

import (
	"bytes"
	"strconv"

	"github.com/protoduction/micro/router/h1"
)

// gRPC always answers 200, and sends the status of the call in a field or trailer. That status counts.

// noteCall records the status of a gRPC call, from the fields of an answer without a body or from its trailers.
func (x *exchange) noteCall(status []byte) {
	if n, err := strconv.ParseUint(string(status), 10, 8); err == nil {
		x.GRPCStatus = uint8(n)
	}
}

// isCall reports whether the answer is one of gRPC.
func (x *exchange) isCall() bool {
	kind := x.res.Lookup("content-type", 0)
	const grpc = "application/grpc"
	return len(kind) >= len(grpc) && h1.EqualFold(kind[:len(grpc)], grpc)
}

// noteTrailers records the status from an answer's trailers.
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

// class returns the class of the answer's status, 0 to 5. A failed gRPC call has class 5 if the app or its dependencies
// failed, and 4 if the call was invalid.
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
