package logs

import "strings"

// levelKeys are the names under which programs write a line's level.
var levelKeys = []string{"level", "severity", "lvl", "log.level", "loglevel", "levelname"}

// isError reports whether a line says that its level is error or worse. It knows JSON (also with numbers, as pino and
// bunyan write them), logfmt, and the usual texts: "ERROR", "[error]", "ERROR:root:". A line that only mentions errors
// has no level.
func isError(line string) bool {
	head := line[:min(len(line), 1024)]
	if strings.HasPrefix(head, "{") {
		for _, key := range levelKeys {
			if value, ok := jsonValue(head, key); ok {
				return isErrorLevel(value)
			}
		}
		return false
	}
	for _, key := range levelKeys {
		if value, ok := logfmtValue(head, key); ok {
			return isErrorLevel(value)
		}
	}
	return saysError(head[:min(len(head), 100)])
}

// jsonValue returns the value that stands behind the first key of this name, without quotes.
func jsonValue(s, key string) (value string, ok bool) {
	for {
		i := strings.Index(s, key)
		if i < 0 {
			return "", false
		}
		quoted := i > 0 && s[i-1] == '"'
		s = s[i+len(key):]
		rest, behind := strings.CutPrefix(s, `"`)
		if !quoted || !behind {
			continue
		}
		rest, isKey := strings.CutPrefix(strings.TrimLeft(rest, " "), ":")
		if !isKey {
			continue
		}
		return word(strings.TrimLeft(rest, ` "`)), true
	}
}

// logfmtValue returns the value of key=value.
func logfmtValue(s, key string) (value string, ok bool) {
	for {
		i := strings.Index(s, key)
		if i < 0 {
			return "", false
		}
		starts := i == 0 || s[i-1] == ' '
		s = s[i+len(key):]
		if starts && strings.HasPrefix(s, "=") {
			return word(strings.TrimLeft(s[1:], `"`)), true
		}
	}
}

// word returns the letters and digits that s begins with.
func word(s string) string {
	for i := range len(s) {
		if !isWord(s[i]) {
			return s[:i]
		}
	}
	return s
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isErrorLevel reports whether a level is error or worse: by its name, or by its number where error is 50.
func isErrorLevel(level string) bool {
	for _, name := range []string{"error", "err", "eror", "fatal", "panic", "dpanic", "critical", "crit", "severe", "alert", "emerg", "emergency", "50", "60"} {
		if strings.EqualFold(level, name) {
			return true
		}
	}
	return false
}

// saysError reports whether a text has a level as a word of its own: in capitals, or in brackets.
func saysError(s string) bool {
	for i := 0; i < len(s); {
		w := word(s[i:])
		if w == "" {
			i++
			continue
		}
		before, after := i > 0 && s[i-1] == '[', i+len(w) < len(s) && s[i+len(w)] == ']'
		switch {
		case before && after && isErrorLevel(w):
			return true
		case w == "ERROR" || w == "FATAL" || w == "CRITICAL" || w == "SEVERE" || w == "PANIC":
			return true
		case w == "INFO" || w == "WARN" || w == "WARNING" || w == "DEBUG" || w == "TRACE":
			return false // the level is another one, whatever the text says
		}
		i += len(w)
	}
	return false
}
