package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/protoduction/micro/cloud"
)

// archive makes a tar stream; Size and Mode are filled in where they are zero.
func archive(t testing.TB, content string, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file_(name string) tar.Header { return tar.Header{Name: name} }
func dir_(name string) tar.Header  { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
func sym(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
}
func hard(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink}
}
func odd(name string, typ byte) tar.Header { return tar.Header{Name: name, Typeflag: typ} }

// TestHostile: each archive is refused with its reason, and nothing of it is left anywhere.
func TestHostile(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("intact"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := func(name, why string, data []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			for _, exists := range []bool{false, true} {
				dir := filepath.Join(t.TempDir(), "to")
				if exists {
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				_, err := Unpack(t.Context(), bytes.NewReader(data), dir, Limits{Bytes: 1 << 20, Entries: 100})
				if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), why) {
					t.Errorf("error %v, want %q", err, why)
				}
				items, err := os.ReadDir(dir)
				if exists && (err != nil || len(items) > 0) || !exists && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("left behind: %v %v", items, err)
				}
				if items, _ := os.ReadDir(filepath.Dir(dir)); len(items) > 1 {
					t.Errorf("beside the folder: %v", items)
				}
			}
		})
	}
	tarOf := func(h ...tar.Header) []byte { return archive(t, "evil", h...) }
	f("absolute name", `"/etc/evil" has an absolute name`, tarOf(file_("/etc/evil")))
	f("dots", `"../evil" has .. in its name`, tarOf(file_("../evil")))
	f("dots in the middle", `has .. in its name`, tarOf(file_("a/../../evil")))
	f("dots that stay inside", `has .. in its name`, tarOf(file_("a/../evil")))
	f("link to an absolute name", `"l" is a link out of the folder`, tarOf(sym("l", victim)))
	f("link upwards", `"a/l" is a link out of the folder`, tarOf(sym("a/l", "../../x")))
	f("link, then write through it", `lies below "l", which is no folder`, tarOf(dir_("a"), sym("l", "a"), file_("l/evil")))
	f("link in place of a folder", `"a" is there twice`, tarOf(dir_("a"), file_("a/x"), sym("a", "b")))
	f("link, then a file in its place", `"l" is there twice`, tarOf(sym("l", "x"), file_("l")))
	f("link over links", `link "x/y/trick" points outside the folder`, tarOf(sym("x/y/root", "../.."), sym("x/y/trick", "root/../q")))
	f("link over a link that comes later", `link "b" points outside the folder`, tarOf(sym("b", "d/e/f/../../../q"), dir_("t"), dir_("d/e"), sym("d/e/f", "../../t")))
	f("empty link", `not an archive`, bytes.Replace(tarOf(sym("l", "zz")), []byte("zz"), []byte{0, 0}, 1))
	f("hard link outside", `"h" is a hard link to "/etc/passwd", which has an absolute name`, tarOf(hard("h", "/etc/passwd")))
	f("hard link upwards", `which has .. in its name`, tarOf(hard("h", "../victim")))
	f("hard link to a symbolic link", `which is no file before it`, tarOf(sym("l", "x"), hard("h", "l")))
	f("hard link through a symbolic link", `which is no file before it`, tarOf(dir_("a"), file_("a/x"), sym("l", "a"), hard("h", "l/x")))
	f("hard link to itself", `which is no file before it`, tarOf(hard("h", "h")))
	f("hard link to what is not there", `which is no file before it`, tarOf(hard("h", "x")))
	f("character device", `"d" is a device`, tarOf(odd("d", tar.TypeChar)))
	f("block device", `"d" is a device`, tarOf(odd("d", tar.TypeBlock)))
	f("fifo", `"p" is a device, FIFO`, tarOf(odd("p", tar.TypeFifo)))
	f("set-user-ID", `"s" has set-user-ID`, tarOf(tar.Header{Name: "s", Mode: 0o4755}))
	f("set-group-ID", `"s" has set-user-ID, set-group-ID`, tarOf(tar.Header{Name: "s", Mode: 0o2755}))
	f("sticky folder", `sticky bits`, tarOf(tar.Header{Name: "s", Mode: 0o1777, Typeflag: tar.TypeDir}))
	f("a file twice", `"a" is there twice`, tarOf(file_("a"), file_("a")))
	f("a file twice, written otherwise", `"./a" is there twice`, tarOf(file_("a"), file_("./a")))
	f("a file below a file", `lies below "a", which is no folder`, tarOf(file_("a"), file_("a/b")))
	f("a file in place of a folder", `"a" is there twice`, tarOf(file_("a/b"), file_("a")))
	f("a file in place of all", `"." is there twice`, tarOf(file_(".")))
	f("long name", `has a part of more than 255 bytes`, tarOf(file_(strings.Repeat("n", 256))))
	f("long path", `has a name of more than 4095 bytes`, tarOf(file_(strings.Repeat("n/", 3000)+"x")))
	f("deep path", `more than 200 folders deep`, tarOf(file_(strings.Repeat("n/", 300)+"x")))
	f("a name that is not UTF-8", `entry "caf\xe9" has a name that is not UTF-8`, tarOf(file_("caf\xe9")))
	f("a link to a name that is not UTF-8", `is a link to "\xff", which is not UTF-8`, tarOf(sym("l", "\xff")))
	f("too many entries", `more than 100 entries`, func() []byte {
		var h []tar.Header
		for i := range 101 {
			h = append(h, dir_(strings.Repeat("x", i+1)))
		}
		return tarOf(h...)
	}())
	f("too many bytes", `takes the archive beyond 1M`, archive(t, strings.Repeat("x", 600<<10), file_("a"), file_("b")))
	f("negative size", "not an archive", sized(t, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0}))
	f("huge size", `"a" takes the archive beyond 1M`, sized(t, []byte("77777777777\x00")))
	f("huger size", `takes the archive beyond 1M`, sized(t, []byte{0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}))
	f("empty", "ends before its first entry", nil)
	f("garbage", "not an archive", bytes.Repeat([]byte("garbage "), 200))
	whole := archive(t, strings.Repeat("x", 2000), file_("a"), file_("b"))
	f("cut in the first header", `ends before its first entry`, whole[:300])
	f("cut in a file", `ends in the middle, at "a"`, whole[:1000])
	f("cut between files", `ends in the middle, at "a"`, whole[:512+2048])
	f("cut before the end mark", `ends in the middle, at "b"`, whole[:2*(512+2048)])
	f("cut gzip", "ends before its first entry", gz(t, whole)[:60])
	f("sparse", "sparse", sparse(t))
	if b, err := os.ReadFile(victim); err != nil || string(b) != "intact" {
		t.Errorf("outside: %q %v", b, err)
	}
}

// sized is an archive whose one header has these bytes as its size.
func sized(t testing.TB, size []byte) []byte {
	data := archive(t, "", file_("a"))
	copy(data[124:136], size)
	resum(data)
	return data
}

// sparse is an archive of a file that is a terabyte of nothing, in PAX's format 1.0.
func sparse(t testing.TB) []byte {
	var b bytes.Buffer
	record := func(k, v string) string {
		s := " " + k + "=" + v + "\n"
		return string(rune('0'+(len(s)+2)/10)) + string(rune('0'+(len(s)+2)%10)) + s
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "a") + record("GNU.sparse.realsize", "1099511627776")
	raw := archive(t, pax, file_("x"))
	raw[156] = 'x'
	resum(raw)
	b.Write(raw[:1024])
	b.Write(archive(t, "0\n"+strings.Repeat("\x00", 510), file_("a")))
	return b.Bytes()
}

func resum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	for i := 5; i >= 0; i-- {
		header[148+i] = '0' + byte(sum&7)
		sum >>= 3
	}
	header[154], header[155] = 0, ' '
}

func gz(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBomb(t *testing.T) {
	honest := archive(t, strings.Repeat("x", 1<<19), file_("a"))
	bomb := archive(t, strings.Repeat("x", 8<<20), file_("a"))
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"gzip": gz(t, bomb), "zstd": z.EncodeAll(bomb, nil)} {
		_, err := Unpack(t.Context(), bytes.NewReader(data), filepath.Join(t.TempDir(), "to"), Limits{})
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "more than 200 times its size") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{"short": gz(t, honest), "plain": bomb} {
		if _, err := Unpack(t.Context(), bytes.NewReader(data), filepath.Join(t.TempDir(), "to"), Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnpackAccepts(t *testing.T) {
	plain := archive(t, "hello", dir_("./"), dir_("a"), file_("./a/b"), sym("a/up", "../a/b"), sym("loop", "loop"), sym("none", "nowhere"),
		hard("h", "a/b"), file_("implied/c"), tar.Header{Name: "implied", Typeflag: tar.TypeDir, Mode: 0o500},
		tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": plain, "gzip": gz(t, plain), "zstd": z.EncodeAll(plain, nil)} {
		dir := filepath.Join(t.TempDir(), "to")
		if _, err := Unpack(t.Context(), iotest.OneByteReader(bytes.NewReader(data)), dir, Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, p := range []string{"a/b", "a/up", "h", "implied/c"} {
			if b, err := os.ReadFile(filepath.Join(dir, p)); string(b) != "hello" {
				t.Errorf("%s: %s is %q, %v", name, p, b, err)
			}
		}
		if info, err := os.Stat(filepath.Join(dir, "implied")); err != nil || info.Mode().Perm() != 0o500 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestUnpackInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := filepath.Join(t.TempDir(), "to")
	data := archive(t, strings.Repeat("x", 10_000), file_("a"), file_("b"))
	r := io.MultiReader(bytes.NewReader(data[:12_000]), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.ErrNoProgress }))
	if _, err := Unpack(ctx, r, dir, Limits{}); cloud.CodeOf(err) != cloud.Interrupted {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	full := write(t, "precious")
	if _, err := Unpack(t.Context(), bytes.NewReader(data), full, Limits{}); cloud.CodeOf(err) != cloud.Conflict {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(full, "precious")); err != nil {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzUnpack: whatever the bytes, nothing appears beside the folder, no special file in it, and after an
// error no folder at all.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, "x", dir_("a"), file_("a/b"), sym("l", "a"), hard("h", "a/b")))
	f.Add(archive(f, "x", sym("l", "../.."), file_("l/b")))
	f.Add(sparse(f))
	f.Add(gz(f, archive(f, "x", file_("a"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "to")
		_, err := Unpack(t.Context(), bytes.NewReader(data), dir, Limits{Bytes: 1 << 20, Entries: 50})
		if items, _ := os.ReadDir(parent); len(items) > 1 || err != nil && len(items) > 0 {
			t.Fatalf("%v left %v", err, items)
		}
		if err != nil {
			return
		}
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if typ := d.Type(); typ != 0 && typ != fs.ModeDir && typ != fs.ModeSymlink {
				t.Errorf("%s is %v", p, typ)
			}
			if info, err := d.Info(); err == nil && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
				t.Errorf("%s has %v", p, info.Mode())
			}
			if to, err := filepath.EvalSymlinks(p); err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
				t.Errorf("%s leads to %s", p, to)
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !strings.Contains(err.Error(), "too many links") {
				t.Error(err)
			}
			return nil
		})
	})
}
