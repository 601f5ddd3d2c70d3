package containers

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// assertLines checks that a text has each of these lines; a line that ends in "…" only needs to match as a prefix.
func assertLines(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		prefix, open := strings.CutSuffix(w, "…")
		found := false
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			found = found || line == w || open && strings.HasPrefix(line, prefix)
		}
		if !found {
			t.Errorf("no line %q", w)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestWalls(t *testing.T) {
	r := newRig(t)
	vol := filepath.Join(r.dir, "vol")
	if err := os.Mkdir(vol, 0o755); err != nil {
		t.Fatal(err)
	}
	c := r.container("report")
	c.Memory = 96 << 20
	c.Hostname, c.Search, c.Dir = "web-1", []string{"default.internal"}, "/not/there/yet"
	c.Mounts = []runtime.Mount{{Source: vol, Target: "/vol"}}
	ip := r.start(c).IP
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 0 {
		t.Errorf("exit: %+v, %v", x, err)
	}
	printed := r.printed(c)
	assertLines(t, printed,
		"uid 0 gid 0",
		"dir /not/there/yet host web-1 pid …",
		"/proc/self/uid_map: 0 1245184 65536 <nil>",
		"/proc/self/gid_map: 0 1245184 65536 <nil>",
		"/etc/hostname: web-1 <nil>",
		"/etc/resolv.conf: nameserver 10.77.0.1 search default.internal <nil>",
		"/etc/hosts: 127.0.0.1 localhost ::1 localhost ip6-localhost ip6-loopback "+ip.String()+" web-1 <nil>",
		"/proc/self/oom_score_adj: 100 <nil>",
		"statfs /etc/hosts: <nil> in memory: false", // writable, so it must not use memory that all containers share
		"CapEff: 00000000000005eb", "CapPrm: 00000000000005eb", "CapBnd: 00000000000005eb",
		"CapInh: 0000000000000000", "CapAmb: 0000000000000000",
		"NoNewPrivs: 1", "Seccomp: 2",
		"write /: <nil>", "write /vol: <nil>", "chown: <nil>",
		"unshare user: operation not permitted", "mount: operation not permitted", "mknod: operation not permitted",
		"keyctl: operation not permitted", "raw socket: operation not permitted", "ping socket: <nil>",
		"listen 81: <nil>",
		"write sysctl: open /proc/sys/kernel/hostname: read-only file system",
		"write cgroup: open /sys/fs/cgroup/memory/memory.limit_in_bytes: …",
		"links [/sys/class/net/eth0 /sys/class/net/lo]",
		"shm 100663296", "reopen stdout: <nil>", "sees memory 100663296",
	)
	var own syscall.Rlimit // the limit that containers inherit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	assertLines(t, printed, fmt.Sprintf("nofile %d %d core 0 0", min(65536, own.Max), min(1<<20, own.Max)))
	if fi, err := os.Stat(filepath.Join(vol, "made")); err != nil || owner(fi) != 0 {
		t.Errorf("a volume's file belongs to root of the container, 0 on disk: %v, %v", fi, err)
	}
	if err := r.Remove(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(r.etc(c.ID))); err != nil || len(left) > 0 {
		t.Errorf("files of a removed container are left: %v, %v", left, err)
	}
	if fi, err := os.Stat(c.Log); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("log's mode: %v, %v", fi.Mode(), err)
	}
}

// TestEtcCounts checks that data written to /etc/hosts counts like other data.
func TestWrittenIntoEtc(t *testing.T) {
	r := newRig(t)
	c := r.container()
	r.start(c)
	before, err := r.Written(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.etc(c.ID), "hosts"), make([]byte, 2<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if after, err := r.Written(t.Context(), c.ID); err != nil || after.Bytes < before.Bytes+1<<20 {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
}

// TestUnlinkedFilesCount checks that unlinked files count as long as a process holds them, and that the number of files
// counts too.
func TestWrittenUnlinked(t *testing.T) {
	r := newRig(t)
	c := r.container("unlinked", "8", "300")
	c.Mounts = []runtime.Mount{{Source: t.TempDir(), Target: "/vol"}}
	r.start(c)
	var u runtime.Usage
	eventually(t, "all files are written", func() bool {
		var err error
		if u, err = r.Written(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		return u.Files >= 300
	})
	// 8 MiB in an open file and 8 MiB in a mapped one; files on a volume and in memory don't count.
	if u.Bytes < 16<<20 || u.Bytes > 20<<20 || u.Files > 320 {
		t.Errorf("%+v", u)
	}
}

func TestUsers(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ image, user, want string }{
		{"", "", "uid 0 gid 0"},
		{"app", "", "uid 1000 gid 1000"},
		{"app", "root", "uid 0 gid 0"},
		{"", "app", "uid 1000 gid 1000"},
		{"", "app:extra", "uid 1000 gid 1234"},
		{"", "4711", "uid 4711 gid 0"},
		{"", "4711:12", "uid 4711 gid 12"},
	} {
		image := r.image
		if c.image != "" {
			image = r.load(func(i *v1.Config) { i.User = c.image })
		}
		x := r.container("report")
		x.User, x.Image = c.user, image
		out, _ := r.run(x)
		assertLines(t, out, c.want)
		if c.want != "uid 0 gid 0" {
			assertLines(t, out, "CapEff: 0000000000000000", "CapPrm: 0000000000000000", "listen 81: <nil>", "reopen stdout: <nil>")
		}
		if c.user == "app" {
			assertLines(t, out, "groups [1000 1234]")
		}
	}
	for user, code := range map[string]cloud.Code{"nobody": cloud.Invalid, "70000": cloud.Invalid, "-1": cloud.Invalid} {
		x := r.container("report")
		x.User = user
		_, err := r.Start(t.Context(), x)
		if cloud.CodeOf(err) != code {
			t.Errorf("user %s: %v", user, err)
		}
	}
	out, x := r.run(r.container("drop")) // starts as root, switches to user 999
	if x.Code != 0 || out != "dropped to 999\n" {
		t.Errorf("drop: %q, %+v", out, x)
	}
}

func TestEnvironment(t *testing.T) {
	r := newRig(t)
	c := r.container("env")
	c.User = "app"
	c.Env = []string{"B=ours", "C=x=y"}
	out, _ := r.run(c)
	assertLines(t, out, "A=image", "B=ours", "C=x=y", "HOME=/home/app", "USER=app", "HOSTNAME="+c.ID, "PATH=/usr/local/sbin:…")
	if n := strings.Count(out, "B="); n != 1 {
		t.Errorf("B is there %d times", n)
	}
}

// A container's processes know its secrets, and nothing on the host has them in a file, while it runs or after.
func TestSecrets(t *testing.T) {
	r := newRig(t)
	const canary = "canary-3f9a77"
	c := r.container("env")
	c.Env = []string{"B=ours", "C=clear"}
	c.Secrets = []string{"PASSWORD=" + canary, "B=over", "LINES=a\nb = \"c\""}
	out, x := r.run(c)
	if x.Code != 0 {
		t.Fatalf("%+v: %s", x, out)
	}
	assertLines(t, out, "PASSWORD="+canary, "B=over", "C=clear", "A=image", "LINES=a")
	if n := strings.Count(out, "B="); n != 1 {
		t.Errorf("B is there %d times", n)
	}
	c = r.container("serve")
	c.Secrets = []string{"PASSWORD=" + canary}
	if _, err := r.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(r.engine.State(), "io.containerd.runtime.v2.task", r.engine.Namespace(), c.ID, "config.json")
	if text, err := os.ReadFile(config); err != nil || !strings.Contains(string(text), "HOSTNAME="+c.ID) {
		t.Errorf("the bundle's specification: %v: %s", err, text)
	}
	for _, dir := range []string{r.engine.State(), r.engine.Root()} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // of a mount, or gone meanwhile
			}
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), canary) {
				t.Errorf("%s has the secret", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommand(t *testing.T) {
	r := newRig(t)
	c := r.container()
	c.Command = `/probe say 'one word' "two"`
	if out, _ := r.run(c); out != "one word two\n" {
		t.Errorf("no shell: %q", out)
	}
	c = r.container()
	c.Command = "/probe say $HOME | cat"
	if _, err := r.Start(t.Context(), c); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "/bin/sh") {
		t.Errorf("no shell, but it takes one: %v", err)
	}
	c = r.container()
	c.Args = []string{"nothing-there"}
	if _, err := r.Start(t.Context(), c); cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), "nothing-there") {
		t.Errorf("no such command: %v", err)
	}
	c = r.container("exit", "42")
	if _, x := r.run(c); x.Code != 42 || x.Reason != "" {
		t.Errorf("exit: %+v", x)
	}
	c = r.container()
	c.Image = "sha256:" + strings.Repeat("0", 64)
	if _, err := r.Start(t.Context(), c); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("no image: %v", err)
	}
	c = r.container()
	c.Tenant = 1 << 17
	if _, err := r.Start(t.Context(), c); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("tenant out of range: %v", err)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	c := r.container("eat")
	if _, x := r.run(c); x.Code != 137 || !x.OOM {
		t.Errorf("out of memory: %+v", x)
	}
	c = r.container("child")
	if _, x := r.run(c); x.Code != 3 || !x.OOM {
		t.Errorf("a child out of memory: %+v", x)
	}
	c = r.container("fork")
	c.Pids = 40
	if out, _ := r.run(c); !strings.HasPrefix(out, "refused after ") || !strings.HasSuffix(out, " true\n") {
		t.Errorf("pids: %q", out)
	}
	c = r.container("spin")
	c.CPU = 200
	spinning := r.start(c)
	before, err := r.Stats(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	time.Sleep(time.Second) // let it use CPU time
	after, err := r.Stats(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if used := float64(after.CPU-before.CPU) / float64(time.Since(begin)); used > 0.3 {
		t.Errorf("uses %.2f cores of 0.2", used)
	}
	if after.MemoryLimit != 64<<20 || after.Memory <= 0 || after.Memory > 64<<20 || after.Pids < 1 {
		t.Errorf("stats: %+v", after)
	}
	if err := syscall.Kill(int(spinning.PID), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Wait(t.Context(), c.ID); err != nil || x.Code != 137 || x.OOM {
		t.Errorf("killed: %+v, %v", x, err)
	}
	if _, err := r.Stats(t.Context(), c.ID); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("stats of one that ended: %v", err)
	}
}

func TestLimitsThatDoNotHoldRefuse(t *testing.T) {
	r := newRig(t)
	c := r.container()
	running := r.start(c)
	c.Memory *= 2
	if err := r.verifyLimits(running.PID, c); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("memory that is not what it should be: %v", err)
	}
	c.Memory /= 2
	if err := r.verifyLimits(uint32(os.Getpid()), c); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("a process elsewhere: %v", err)
	}
	h := r.hierarchies["pids"]
	delete(r.hierarchies, "pids")
	if err := r.verifyLimits(running.PID, c); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("no controller of pids: %v", err)
	}
	r.hierarchies["pids"] = h
}

func TestListening(t *testing.T) {
	r := newRig(t)
	c := r.container()
	c.Env = []string{"PORT=8080"}
	running := r.start(c)
	r.ask(running.IP, 8080)
	got, err := r.Listening(t.Context(), c.ID)
	if err != nil || len(got) != 2 || got[0].Port() != 80 || got[1].Port() != 8080 || !got[0].Addr().IsUnspecified() {
		t.Errorf("listening: %v, %v", got, err)
	}
}
