package logs

import (
	"bytes"
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Stream says who wrote a line.
type Stream string

// The streams of an app's log.
const (
	App    Stream = "app"    // the app itself
	Router Stream = "router" // one line a request
	Build  Stream = "build"
	API    Stream = "api" // what people did
)

// Line is one line of an app's log. Release and what follows are zero on lines that no instance wrote.
type Line struct {
	Time     time.Time
	Stream   Stream
	Release  int
	Process  cloud.ProcessName
	Index    int
	Instance cloud.InstanceID
	// Late says that the line was written while micro was down: Time is when it was found.
	Late bool
	Text string // without the line's end; at most maxLine bytes
	// Cursor is the line's place in its app's log, for Query.After; set on lines that were read.
	Cursor string

	end int64 // offset in the raw file just behind the line
}

// maxLine bounds a line; a longer one is cut into several.
const maxLine = 64 << 10

// mark is the stream of records that carry an offset and no line.
const mark Stream = "-"

// append adds the line's record to b: fields separated by one space, text last, ended by LF.
func (l Line) append(b []byte) []byte {
	return append(append(l.appendHead(b), l.Text...), '\n')
}

// appendHead adds all fields but the text.
func (l Line) appendHead(b []byte) []byte {
	late := byte('.')
	if l.Late {
		late = '~'
	}
	b = append(strconv.AppendInt(b, l.Time.UnixNano(), 10), ' ')
	b = append(append(b, l.Stream...), ' ', late, ' ')
	b = append(strconv.AppendInt(b, int64(l.Release), 10), ' ')
	b = append(append(b, orDash(string(l.Process))...), ' ')
	b = append(strconv.AppendInt(b, int64(l.Index), 10), ' ')
	b = append(append(b, orDash(string(l.Instance))...), ' ')
	return append(strconv.AppendInt(b, l.end, 10), ' ')
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func fromDash(b []byte) string {
	if string(b) == "-" {
		return ""
	}
	return string(b)
}

// parseLine reads a record without its LF. ok is false for what is none.
func parseLine(b []byte) (l Line, ok bool) {
	f := bytes.SplitN(b, []byte(" "), 9)
	if len(f) != 9 {
		return l, false
	}
	at, err1 := strconv.ParseInt(string(f[0]), 10, 64)
	release, err2 := strconv.Atoi(string(f[3]))
	index, err3 := strconv.Atoi(string(f[5]))
	end, err4 := strconv.ParseInt(string(f[7]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return l, false
	}
	return Line{
		Time: time.Unix(0, at).UTC(), Stream: Stream(f[1]), Late: string(f[2]) == "~", Release: release,
		Process: cloud.ProcessName(fromDash(f[4])), Index: index, Instance: cloud.InstanceID(fromDash(f[6])),
		end: end, Text: string(f[8]),
	}, true
}
