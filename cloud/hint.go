package cloud

import (
	"errors"
	"fmt"
	"strings"
)

// WithHint returns the error with a sentence about what to try next.
func (e *Error) WithHint(format string, args ...any) *Error {
	hinted := *e
	hinted.Hint, hinted.Command = fmt.Sprintf(format, args...), nil
	return &hinted
}

// WithCommand returns the error with a command line to try next: "micro start %s". The format's words,
// separated by spaces, are its arguments, whatever is put into them.
func (e *Error) WithCommand(format string, args ...any) *Error {
	hinted := *e
	hinted.Hint, hinted.Command = fmt.Sprintf(format, args...), nil
	plain := true
	for word := range strings.FieldsSeq(format) {
		n := min(countVerbs(word), len(args))
		arg := fmt.Sprintf(word, args[:n]...)
		args = args[n:]
		plain = plain && ShellQuote(arg) == arg
		hinted.Command = append(hinted.Command, arg)
	}
	if !plain {
		quoted := make([]string, len(hinted.Command))
		for i, arg := range hinted.Command {
			quoted[i] = ShellQuote(arg)
		}
		hinted.Hint = strings.Join(quoted, " ")
	}
	return &hinted
}

// WithHintOf returns the error with the hint of another error's chain, if that has one.
func (e *Error) WithHintOf(err error) *Error {
	from := hinted(err)
	if from == nil {
		return e
	}
	hinted := *e
	hinted.Hint, hinted.Command = from.Hint, from.Command
	return &hinted
}

// HintOf returns the hint of the first Error in err's chain that has one.
func HintOf(err error) string {
	if e := hinted(err); e != nil {
		return e.Hint
	}
	return ""
}

// CommandOf returns that hint as a program and its arguments, nil where it is no command line.
func CommandOf(err error) []string {
	if e := hinted(err); e != nil {
		return e.Command
	}
	return nil
}

// hinted is the first Error in err's chain that has a hint.
func hinted(err error) *Error {
	for {
		var e *Error
		if !errors.As(err, &e) {
			return nil
		}
		if e.Hint != "" {
			return e
		}
		err = e.Err
	}
}

// countVerbs counts the values that a word of a format takes.
func countVerbs(word string) int {
	return strings.Count(strings.ReplaceAll(word, "%%", ""), "%")
}

// ShellQuote writes an argument as a shell reads it. What is for a person to fill in stays readable.
func ShellQuote(arg string) string {
	const safe = "%+,-./:=@_[]{}…"
	if arg != "" && strings.IndexFunc(arg, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(safe, r))
	}) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
