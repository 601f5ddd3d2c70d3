package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// ProblemType is the media type of errors.
const ProblemType = "application/problem+json"

// Problem is a problem document (RFC 9457) with our members code, hint and request_id.
type Problem struct {
	Type   string     `json:"type,omitempty" doc:"about:blank where missing"`
	Title  string     `json:"title" doc:"What kind of problem, in words"`
	Status int        `json:"status" doc:"The HTTP status that the code stands for"`
	Detail string     `json:"detail" doc:"What was tried and what was found, for a person; several faults are a line each"`
	Code   cloud.Code `json:"code" doc:"What kind of problem, for programs" enum:"internal,invalid,not_found,denied,unauthenticated,conflict,unavailable,deploy_failed,interrupted"`
	Hint   string     `json:"hint,omitempty" doc:"What to try next, for a person"`
	// Command is the hint once more, where it is a command line.
	Command []string `json:"command,omitempty" doc:"The hint as a program and its arguments, where it is a command line; what is in capital letters is to be filled in"`
	// Lines are what an app logged before it failed.
	Lines     []string `json:"lines,omitempty" doc:"What the app logged last, where it failed to start"`
	RequestID string   `json:"request_id,omitempty" doc:"Finds the request in the node's log"`
}

// ProblemOf describes an error. What a fault of micro's own says stays in the node's log.
func ProblemOf(err error) *Problem {
	var e *cloud.Error
	if !errors.As(err, &e) && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		// A full disk is no fault of micro's, and whoever wrote to it need not know how to say so.
		err = cloud.Errorf(cloud.Unavailable, "the node's disk is full").WithCommand("micro prune")
	}
	code := cloud.CodeOf(err)
	p := &Problem{Title: title(code), Status: code.Status(), Code: code, Hint: Printable(cloud.HintOf(err)), Command: printable(cloud.CommandOf(err))}
	p.Detail = Printable(err.Error())
	if code == cloud.Internal && !errors.As(err, &e) {
		p.Detail = "something went wrong inside micro"
	}
	var lines interface{ LogLines() []string }
	if errors.As(err, &lines) {
		p.Lines = printable(lines.LogLines())
	}
	return p
}

func printable(texts []string) (safe []string) {
	for _, text := range texts {
		safe = append(safe, Printable(text))
	}
	return safe
}

func title(c cloud.Code) string {
	switch c {
	case cloud.Internal:
		return "Internal fault"
	case cloud.Invalid:
		return "Invalid input"
	case cloud.NotFound:
		return "Not found"
	case cloud.Unauthenticated:
		return "Not logged in"
	case cloud.Denied:
		return "Not allowed"
	case cloud.Conflict:
		return "Conflict"
	case cloud.Unavailable:
		return "Not available now"
	case cloud.DeployFailed:
		return "Deploy failed"
	case cloud.Interrupted:
		return "Interrupted"
	}
	return string(c)
}

// Failed is an error that came with what the app logged last.
type Failed struct {
	Err   *cloud.Error
	Lines []string
}

func (f *Failed) Error() string { return f.Err.Error() }

// LogLines returns what the app logged last.
func (f *Failed) LogLines() []string { return f.Lines }

// Unwrap gives the cloud.Error to errors.As.
func (f *Failed) Unwrap() error { return f.Err }

// Err is the error that the problem describes: a *cloud.Error, in a *Failed where there are lines.
func (p *Problem) Err() error {
	code := p.Code
	if !known(code) {
		code = CodeOfStatus(p.Status)
	}
	msg := p.Detail
	if msg == "" {
		msg = p.Title
	}
	e := &cloud.Error{Code: code, Msg: Printable(msg), Hint: Printable(p.Hint), Command: printable(p.Command)}
	if code == cloud.Internal && p.RequestID != "" && e.Hint == "" {
		e.Hint = "look for request " + Printable(p.RequestID) + " in the node's log"
	}
	if len(p.Lines) == 0 {
		return e
	}
	return &Failed{Err: e, Lines: printable(p.Lines)}
}

func known(c cloud.Code) bool {
	return slices.Contains(cloud.Codes(), c)
}

// CodeOfStatus is the code that a status stands for: of ours, or of what others answer, such as a proxy.
func CodeOfStatus(status int) cloud.Code {
	for _, c := range cloud.Codes() {
		if c.Status() == status {
			return c
		}
	}
	switch {
	case status == http.StatusMethodNotAllowed:
		return cloud.NotFound
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		return cloud.Unavailable
	case status >= 400 && status < 500:
		return cloud.Invalid
	}
	return cloud.Internal
}

// WriteProblem answers a request with an error.
func WriteProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", ProblemType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	// The client may be gone: there is nobody to tell.
	_ = json.NewEncoder(w).Encode(p)
}

// maxProblem bounds what is read of an error from a peer, in bytes.
const maxProblem = 1 << 20

// ReadProblem makes an error of an answer whose status is none of 2xx. It does not close the body.
func ReadProblem(r *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxProblem))
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "the answer broke off: %w", err)
	}
	var p Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return cloud.Errorf(CodeOfStatus(r.StatusCode), "unexpected answer from the server: %s", Printable(r.Status))
	}
	p.Status = r.StatusCode
	return p.Err()
}
