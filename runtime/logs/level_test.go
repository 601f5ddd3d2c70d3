package logs

import "testing"

func TestLevelOfLines(t *testing.T) {
	for line, want := range map[string]bool{
		`{"time":"2026-11-28T12:00:00Z","level":"ERROR","msg":"no"}`: true,
		`{"level": "error", "msg": "no"}`:                            true,
		`{"level":"info","msg":"level error"}`:                       false,
		`{"msg":"the \"level\" of error","level":"warn"}`:            false,
		`{"severity":"CRITICAL","message":"no"}`:                     true,
		`{"log.level":"error","message":"no"}`:                       true,
		`{"level":50,"time":1,"msg":"no"}`:                           true,
		`{"level":30,"time":1,"msg":"yes"}`:                          false,
		`{"msg":"ERROR"}`:                                            false,
		`time=2026-11-28T12:00:00Z level=ERROR msg=no`:               true,
		`level=info msg="an ERROR was mended"`:                       false,
		`ts=1 lvl=eror msg=no`:                                       true,
		`2026-11-28 12:00:00,000 ERROR shop: no`:                     true,
		`2026-11-28 12:00:00,000 INFO shop: ERROR was the word`:      false,
		`ERROR:root:no`:                                              true,
		`2026/11/28 12:00:00 [error] 7#7: *1 connect() failed`:       true,
		`2026/11/28 12:00:00 [warn] 7#7: an upstream response`:       false,
		`[emerg] 1#1: host not found`:                                true,
		`GET /errors 200`:                                            false,
		`an error was mended`:                                        false,
		`TERRORIST is no level`:                                      false,
		``:                                                           false,
		`{`:                                                          false,
		`{"level`:                                                    false,
		`{"level":`:                                                  false,
		`level=`:                                                     false,
		`panic: runtime error: index out of range`:                   false,
		`12:00:00.000 [main] SEVERE com.example.Shop - no`:           true,
		`FATAL:  password authentication failed for user "shop"`:     true,
	} {
		if got := isError(line); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func BenchmarkLevel(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		isError(`{"time":"2026-11-28T12:00:00.000000000Z","severity":"INFO","msg":"GET /products/42","status":200,"ms":12}`)
	}
}
