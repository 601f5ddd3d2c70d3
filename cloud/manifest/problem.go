package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// Problem is something wrong at a place of a file. Line and Column count from 1.
type Problem struct {
	File         string
	Line, Column int
	Msg          string

	order int // of the file
}

// String is "micro.yml:3:5: unknown key …".
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Msg)
}

// Problems is everything wrong with a folder's files, by file and line; errors.As finds it in what Load
// and Parse return.
type Problems []Problem

// Error lists the problems, a line each.
func (ps Problems) Error() string { return strings.Join(ps.strings(), "\n") }

func (ps Problems) strings() []string {
	var lines []string
	for _, p := range ps.sorted() {
		lines = append(lines, p.String())
	}
	return lines
}

// sorted also drops repetitions: an alias shows the same fault again, at the same place.
func (ps Problems) sorted() Problems {
	s := slices.Clone(ps)
	slices.SortStableFunc(s, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(s)
}

// log collects the problems of all files.
type log struct {
	files    int
	problems Problems
	warnings Problems
}

// reader reads one file and knows where in it things stand.
type reader struct {
	*log
	// asked gets what only matters if what is being read is used: refusals and warnings.
	asked *log
	file  string
	order int
	lines int
}

func (l *log) reader(file string, data []byte) *reader {
	l.files++
	return &reader{log: l, asked: l, file: file, order: l.files, lines: 1 + bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))}
}

// withAsked is the reader of a part that may turn out not to be wanted.
func (r *reader) withAsked(asked *log) *reader {
	part := *r
	part.asked = asked
	return &part
}

// problem is one at a node; nil is the file as a whole.
func (r *reader) problem(n *yaml.Node, format string, args ...any) Problem {
	p := Problem{File: r.file, Line: 1, Column: 1, order: r.order}
	if n != nil {
		p.Line, p.Column = min(max(n.Line, 1), r.lines), max(n.Column, 1)
	}
	// A key may hold anything, and the message goes to a terminal, on one line.
	p.Msg = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return '\ufffd'
		}
		return c
	}, fmt.Sprintf(format, args...))
	return p
}

func (r *reader) bad(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, r.problem(n, format, args...))
}

// badErr reports an error of package cloud with its hint, which would be lost among others.
func (r *reader) badErr(n *yaml.Node, err error) {
	if hint := cloud.HintOf(err); hint != "" {
		r.bad(n, "%v: %s", err, hint)
		return
	}
	r.bad(n, "%v", err)
}

func (r *reader) warn(n *yaml.Node, format string, args ...any) {
	r.asked.warnings = append(r.asked.warnings, r.problem(n, format, args...))
}

// refuse reports something well-formed that micro does not support.
func (r *reader) refuse(n *yaml.Node, format string, args ...any) {
	r.asked.problems = append(r.asked.problems, r.problem(n, format+" is not supported yet", args...))
}

// keep takes over what was asked of one app.
func (r *reader) keep(asked log) {
	r.problems = append(r.problems, asked.problems...)
	r.warnings = append(r.warnings, asked.warnings...)
}
