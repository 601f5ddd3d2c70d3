package api

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/protoduction/micro/cloud"
)

// checkUTF8 refuses a request with text that JSON cannot carry: the encoder would put other characters in
// its place without a word.
func checkUTF8(body any) error {
	path, text := findNotUTF8(reflect.ValueOf(body))
	if path == "" {
		return nil
	}
	path = strings.TrimPrefix(path, ".")
	shown := fmt.Sprintf("%+q", abbreviate(text))
	if strings.Contains(path, "env") { // it may be a secret
		name, _, _ := strings.Cut(text, "=")
		if shown = "the value of " + name; name == text {
			shown = "the value"
		}
	}
	return cloud.Errorf(cloud.Invalid, "%s: %s is not UTF-8, and other bytes cannot be sent", path, shown).
		WithHint("encode the value, for example with base64")
}

// findNotUTF8 returns the path of the first such text and the text; "" where there is none.
func findNotUTF8(v reflect.Value) (path, text string) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) {
			return ".", s
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return findNotUTF8(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.IsExported() || name == "-" {
				continue
			}
			if inner, text := findNotUTF8(v.Field(i)); inner != "" {
				return joinPath("."+name, inner), text
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 { // sent in base64
			return "", ""
		}
		for i := range v.Len() {
			if inner, text := findNotUTF8(v.Index(i)); inner != "" {
				return joinPath(fmt.Sprintf("[%d]", i), inner), text
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if inner, text := findNotUTF8(key); inner != "" {
				return inner, text
			}
			if inner, text := findNotUTF8(v.MapIndex(key)); inner != "" {
				return joinPath(fmt.Sprintf(".%v", key), inner), text
			}
		}
	}
	return "", ""
}

func joinPath(outer, inner string) string {
	if inner == "." {
		return outer
	}
	return outer + inner
}

func abbreviate(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
