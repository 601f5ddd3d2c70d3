package memory

import "testing"

// The program runs on, and fewer of its pages are in RAM.
func TestReleaseProgram(t *testing.T) {
	before := Resident()
	if err := releaseProgram(); err != nil {
		t.Fatal(err)
	}
	if after := Resident(); after >= before {
		t.Errorf("%d bytes in RAM, and %d before", after, before)
	}
}

func TestSegment(t *testing.T) {
	for line, want := range map[string]uintptr{
		"00400000-01f5d000 r-xp 00000000 fe:00 42                         /usr/bin/micro":           0x1b5d000,
		"01f5d000-03c66000 r--p 01b5d000 fe:00 42                         /usr/bin/micro":           0x1d09000,
		"03c66000-04ea7000 rw-p 03866000 fe:00 42                         /usr/bin/micro":           0,
		"c000000000-c000800000 rw-p 00000000 00:00 0":                                               0,
		"7f00000-7f01000 r--p 00000000 fe:00 42                           /usr/lib/x86_64/libc.so":  0,
		"00400000-01f5d000 r-xp 00000000 fe:00 42                         /usr/bin/micro (deleted)": 0,
	} {
		from, to, ok := segment(line, "/usr/bin/micro")
		if ok != (want > 0) || ok && to-from != want {
			t.Errorf("%s: %x-%x %v", line, from, to, ok)
		}
	}
}
