package router

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Pass returns a value of the field X-Micro-Release with which a client of a public listener may choose a release of a mapped
// host until a time: "r7.1764000000.SIGNATURE". The signature is HMAC-SHA256 (RFC 2104) with a key that only nodes have. It
// includes the app, so that a pass is not valid for other apps of the host.
func Pass(key []byte, host cloud.Host, to cloud.ReleaseRef, until time.Time) string {
	said := "r" + strconv.Itoa(to.N) + "." + strconv.FormatInt(until.Unix(), 10)
	return said + "." + sign(key, host, to.AppRef, []byte(said))
}

// passed returns the release that a pass is for, and whether it is good for an app on the host now.
func passed(key []byte, host cloud.Host, app cloud.AppRef, pass []byte, now time.Time) (release []byte, ok bool) {
	last := bytes.LastIndexByte(pass, '.')
	if len(key) == 0 || last < 0 || len(pass) > 200 {
		return nil, false
	}
	said, signature := pass[:last], pass[last+1:]
	if !hmac.Equal(signature, []byte(sign(key, host, app, said))) {
		return nil, false
	}
	release, until, _ := bytes.Cut(said, []byte("."))
	at, err := strconv.ParseInt(string(until), 10, 64)
	return release, err == nil && now.Unix() < at
}

func sign(key []byte, host cloud.Host, app cloud.AppRef, said []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("micro release pass\x00" + string(host) + "\x00" + app.String() + "\x00"))
	h.Write(said)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
