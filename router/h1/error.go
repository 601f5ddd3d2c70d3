package h1

// Error is why a message was refused. Status is what a server answers a request with.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// The refusals. A request is answered with the status and its connection closed; a response that is
// refused becomes the gateway's 502.
var (
	ErrLine       = &Error{400, "malformed start line"}
	ErrTarget     = &Error{400, "malformed request target"}
	ErrVersion    = &Error{505, "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	ErrBareLF     = &Error{400, "line ends in a bare LF"}
	ErrBareCR     = &Error{400, "CR without LF"}
	ErrName       = &Error{400, "malformed field name"}
	ErrValue      = &Error{400, "control byte in a field value"}
	ErrFold       = &Error{400, "folded field line"}
	ErrHost       = &Error{400, "exactly one valid Host is needed"}
	ErrLength     = &Error{400, "malformed or repeated Content-Length"}
	ErrTwoLengths = &Error{400, "both Content-Length and Transfer-Encoding"}
	ErrEncoding   = &Error{400, "Transfer-Encoding other than chunked"}
	ErrCoding     = &Error{501, "transfer coding is not implemented"}
	ErrTooLarge   = &Error{431, "head larger than 32 KiB"}
	ErrTooMany    = &Error{431, "more than 100 fields"}
	ErrMethod     = &Error{405, "method is not allowed"}
	ErrChunk      = &Error{400, "malformed chunk"}
	ErrTrailer    = &Error{400, "malformed or oversized trailer"}
)
