package debimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// finish adds what the packages' maintainer scripts would have made and what the recipe asks for.
func (t tree) finish(r Recipe) error {
	made := t.newest()
	add := func(name string, e tar.Header, body []byte) {
		for parent := path.Dir(name); parent != "." && t[parent] == nil; parent = path.Dir(parent) {
			t[parent] = &entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: made}}
		}
		e.ModTime = made
		t[name] = &entry{e, body}
	}
	dir := func(name string, mode int64, owner int) {
		add(name, tar.Header{Typeflag: tar.TypeDir, Mode: mode, Uid: owner, Gid: owner}, nil)
	}
	link := func(name, target string) {
		add(name, tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}, nil)
	}
	file := func(name string, mode int64, body []byte) {
		add(name, tar.Header{Typeflag: tar.TypeReg, Mode: mode}, body)
	}

	for _, m := range moved {
		dir(m.to, 0o755, 0)
		up := strings.Repeat("../", strings.Count(m.from, "/"))
		link(m.from, up+m.to)
	}
	for _, name := range []string{"dev", "etc", "home", "proc", "sys", "var/cache", "usr/local/bin"} {
		dir(name, 0o755, 0)
	}
	dir("root", 0o700, 0)
	dir("tmp", 0o1777, 0)
	dir("var/tmp", 0o1777, 0)
	dir("run/lock", 0o1777, 0)

	file("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"))
	if err := t.accounts(r.Users, file); err != nil {
		return err
	}
	file("etc/ssl/certs/ca-certificates.crt", 0o644, t.bundle())
	link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt")
	link("usr/lib/ssl/certs", "/etc/ssl/certs")

	for _, d := range r.Dirs {
		dir(d.Path, d.Mode, d.Owner)
	}
	for name, target := range r.Links {
		link(name, target)
	}
	for name, source := range r.Files {
		body, err := files.ReadFile("files/" + source)
		if err != nil {
			return err
		}
		file(name, 0o755, body)
	}
	for name, text := range r.Append {
		if t[name] == nil {
			return fmt.Errorf("no file %s to append to", name)
		}
		t[name].body = append(t[name].body, text...)
	}
	return t.applets(link)
}

// accounts makes passwd, group and shadow of Debian's master files and the recipe's users.
func (t tree) accounts(users []User, file func(string, int64, []byte)) error {
	masters := "usr/share/base-passwd/"
	if t[masters+"passwd.master"] == nil || t[masters+"group.master"] == nil {
		return fmt.Errorf("no %spasswd.master or group.master", masters)
	}
	passwd := bytes.ReplaceAll(t[masters+"passwd.master"].body, []byte(":*:"), []byte(":x:"))
	group := bytes.ReplaceAll(t[masters+"group.master"].body, []byte(":*:"), []byte(":x:"))
	for _, u := range users {
		passwd = fmt.Appendf(passwd, "%s:x:%d:%d::%s:/bin/sh\n", u.Name, u.ID, u.ID, u.Home)
		group = fmt.Appendf(group, "%s:x:%d:\n", u.Name, u.ID)
	}
	var shadow []byte
	for line := range bytes.Lines(passwd) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		shadow = fmt.Appendf(shadow, "%s:*:::::::\n", name)
	}
	passwd = bytes.Replace(passwd, []byte(":/root:/bin/bash"), []byte(":/root:/bin/sh"), 1)
	file("etc/passwd", 0o644, passwd)
	file("etc/group", 0o644, group)
	file("etc/shadow", 0o640, shadow)
	return nil
}

// bundle is all of Mozilla's certificates in one file, as update-ca-certificates makes it.
func (t tree) bundle() []byte {
	var bundle []byte
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if ok, _ := path.Match("usr/share/ca-certificates/mozilla/*.crt", name); ok {
			bundle = append(append(bundle, bytes.TrimSpace(t[name].body)...), '\n')
		}
	}
	return bundle
}

// applets links the commands that busybox has and no package brought.
func (t tree) applets(link func(name, target string)) error {
	busybox := t["usr/bin/busybox"]
	if busybox == nil {
		return fmt.Errorf("no busybox in the image")
	}
	// The binary itself knows best which commands it has; it is static, so it runs on any host.
	program, err := os.CreateTemp("", "busybox")
	if err != nil {
		return err
	}
	defer os.Remove(program.Name())
	_, err = program.Write(busybox.body)
	if err == nil {
		err = program.Chmod(0o700)
	}
	if closeErr := program.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	list, err := exec.Command(program.Name(), "--list-full").Output()
	if err != nil {
		return fmt.Errorf("busybox --list-full: %w", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		if name = place(name); t[name] == nil && name != "linuxrc" {
			link(name, "/usr/bin/busybox")
		}
	}
	return nil
}
