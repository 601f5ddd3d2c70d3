package cloud

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Code says what kind of failure an error is. It travels in the API's answers, so that nobody need
// guess from a text. Its values are stable.
type Code string

// The codes; codeTable says how each leaves the API and the command line.
const (
	Internal Code = "internal"  // a fault of micro's own
	Invalid  Code = "invalid"   // the input is wrong
	NotFound Code = "not_found" // no such object, or not one that the caller may see
	Denied   Code = "denied"    // the caller's role does not allow it
	// Unauthenticated is for callers who do not show who they are, or not well.
	Unauthenticated Code = "unauthenticated"
	Conflict        Code = "conflict"      // somebody else was faster, a name is taken, or a quota is used up
	Unavailable     Code = "unavailable"   // not now: starting, stopping, timed out, or out of reach
	DeployFailed    Code = "deploy_failed" // the app could not be built, started or reached
	Interrupted     Code = "interrupted"   // the caller gave up
)

var codeTable = map[Code]struct{ status, exit int }{
	Internal: {http.StatusInternalServerError, 1},
	Invalid:  {http.StatusUnprocessableEntity, 2},
	NotFound: {http.StatusNotFound, 3},
	Denied:   {http.StatusForbidden, 4},

	Unauthenticated: {http.StatusUnauthorized, 4},
	Conflict:        {http.StatusConflict, 5},
	Unavailable:     {http.StatusServiceUnavailable, 6},
	DeployFailed:    {http.StatusFailedDependency, 7},
	Interrupted:     {499, 130},
}

// Codes returns every code.
func Codes() []Code {
	return []Code{Internal, Invalid, NotFound, Unauthenticated, Denied, Conflict, Unavailable, DeployFailed, Interrupted}
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
// try next (Hint). Err is the cause, kept for errors.Is and for the log.
type Error struct {
	Code Code
	Msg  string
	Hint string
	// Command is the hint as a program and its arguments, where it is a command line, so that a page can
	// offer it too. What is in capital letters, or "…", is for the person to fill in.
	Command []string
	Err     error
}

// Errorf makes an error of a code. A %w verb sets the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
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

// Join makes one error of several, a line each, with the code and the hint of the first; nil of none.
func Join(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return Errorf(CodeOf(errs[0]), "%w", errors.Join(errs...)).WithHintOf(errs[0])
}
