package disk

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// projectsEnv is the environment variable with a folder on a file system that enforces limits of projects. Not every
// kernel supports them: scripts/quota.sh runs this test on one that does, with ext4 and XFS.
const projectsEnv = "MICRO_TEST_PROJECTS"

// becomeBounded drops the capability of this thread to exceed limits.
func becomeBounded(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	sets[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
}

func TestProjects(t *testing.T) {
	dir := os.Getenv(projectsEnv)
	if dir == "" {
		dir = t.TempDir()
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		if EnforcesProjects(dir) {
			t.Error("a file system without quotas claims to enforce limits")
		}
		if err := SetLimit(dir, 7, Usage{Bytes: 1 << 20}); err == nil {
			t.Error("a file system without quotas accepts a limit")
		}
		return
	}
	if !EnforcesProjects(dir) {
		t.Fatal("limits of projects are not enforced")
	}
	becomeBounded(t)
	app := filepath.Join(dir, "app")
	const project = 1<<30 | 7
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(app, 0o777))
	must(os.Chmod(app, 0o777))
	if u, limited, err := ProjectUsage(dir, project); u.Files != 0 || limited || err != nil {
		t.Fatalf("before: %+v, %v, %v", u, limited, err)
	}
	must(SetProject(app, project))
	must(SetLimit(dir, project, Usage{Bytes: 1 << 20, Files: 20}))
	must(os.Mkdir(filepath.Join(app, "sub"), 0o777))
	big, err := os.Create(filepath.Join(app, "sub", "big"))
	must(err)
	must(os.Remove(big.Name())) // unlinked files still count
	n := 0
	for ; err == nil && n < 4<<20; n += 16 << 10 {
		_, err = big.Write(make([]byte, 16<<10))
	}
	if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) || n > 1<<20+32<<10 {
		t.Errorf("%d bytes fit: %v", n, err)
	}
	if u, limited, err := ProjectUsage(dir, project); u.Bytes < 1<<19 || u.Files < 3 || !limited || err != nil {
		t.Errorf("full: %+v, %v, %v", u, limited, err)
	}
	must(big.Close())
	files := 0
	for ; files < 100; files++ {
		if err = os.WriteFile(filepath.Join(app, string(rune('a'+files))), nil, 0o600); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) || files > 20 {
		t.Errorf("%d files fit: %v", files, err)
	}
	must(SetLimit(dir, project, Usage{}))
	must(os.WriteFile(filepath.Join(app, "more"), make([]byte, 4<<20), 0o600))
	must(os.RemoveAll(app))
}
