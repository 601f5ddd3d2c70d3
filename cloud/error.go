package cloud

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says what kind of failure an error is. It travels in the API's answers, so that nobody need
// guess from a text. Its values are stable.
type Code string

// The codes; codeTable says how each leaves the API and the command line.
const (
	Internal     Code = "internal"      // a fault of micro's own
	Invalid      Code = "invalid"       // the input is wrong
	NotFound     Code = "not_found"     // no such object, or not one that the caller may see
	Denied       Code = "denied"        // the caller's role does not allow it
	Conflict     Code = "conflict"      // somebody else was faster, a name is taken, or a quota is used up
	Unavailable  Code = "unavailable"   // not now: starting, stopping, timed out, or out of reach
	DeployFailed Code = "deploy_failed" // the app could not be built, started or reached
	Interrupted  Code = "interrupted"   // the caller gave up
)

var codeTable = map[Code]struct{ status, exit int }{
	Internal:     {http.StatusInternalServerError, 1},
	Invalid:      {http.StatusUnprocessableEntity, 2},
	NotFound:     {http.StatusNotFound, 3},
	Denied:       {http.StatusForbidden, 4},
	Conflict:     {http.StatusConflict, 5},
	Unavailable:  {http.StatusServiceUnavailable, 6},
	DeployFailed: {http.StatusFailedDependency, 7},
	Interrupted:  {499, 130},
}

// Codes returns every code.
func Codes() []Code {
	return []Code{Internal, Invalid, NotFound, Denied, Conflict, Unavailable, DeployFailed, Interrupted}
}

// Status is the HTTP status that the code is answered with.
func (c Code) Status() int {
	if row, ok := codeTable[c]; ok {
		return row.status
	}
	return http.StatusInternalServerError
}

// Exit is the exit code of the command line, 1 to 130.
func (c Code) Exit() int {
	if row, ok := codeTable[c]; ok {
		return row.exit
	}
	return 1
}

// Error is a failure as a person gets to see it: what was tried and what was found (Msg), and what to
// do next (Hint, a command where there is one). Err is the cause, kept for errors.Is and for the log.
type Error struct {
	Code Code
	Msg  string
	Hint string
	Err  error
}

// Errorf makes an error of a code. A %w verb sets the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns the error with the next thing to try.
func (e *Error) WithHint(format string, args ...any) *Error {
	hinted := *e
	hinted.Hint = fmt.Sprintf(format, args...)
	return &hinted
}

func (e *Error) Error() string { return e.Msg }

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain: Internal where there is none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// HintOf returns the hint of the first Error in err's chain that has one.
func HintOf(err error) string {
	for {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
}
