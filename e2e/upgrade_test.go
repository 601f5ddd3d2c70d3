package e2e

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// versionMark is before the version at the end of a program that program made.
const versionMark = "\nmicro version "

// brokenVersion is one that runs, but not in the place of another program.
const brokenVersion = "broken"

// program VERSION… makes programs VERSION/micro that are micro in that version. They differ from each other, as the programs
// of two versions do.
func programCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: program VERSION…")
	}
	path, err := lookPath(ts.Getenv("PATH"), "micro")
	ts.Check(err)
	for _, version := range args {
		to := ts.MkAbs(filepath.Join(version, "micro"))
		ts.Check(os.MkdirAll(filepath.Dir(to), 0o755))
		in, err := os.Open(path)
		ts.Check(err)
		out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
		ts.Check(err)
		_, err = io.Copy(out, in)
		ts.Check(err)
		_, err = out.WriteString(versionMark + version)
		ts.Check(err)
		ts.Check(out.Close())
		ts.Check(in.Close())
	}
}

// markedVersion returns the version at the end of this process's program; "" for none.
func markedVersion() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 64
	end := make([]byte, most)
	if info, err := f.Stat(); err != nil || info.Size() < most {
		return ""
	} else if _, err := f.ReadAt(end, info.Size()-most); err != nil {
		return ""
	}
	_, found, _ := bytes.Cut(end, []byte(versionMark))
	return string(found)
}
