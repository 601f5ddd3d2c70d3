//go:build unix

package hosttrust

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// person is whose browsers are changed. Files that root writes into a home would be out of their owner's reach.
type person struct {
	home     string
	switchTo *syscall.Credential // nil: the process is theirs
}

func thisPerson(env func(string) string) person {
	home, _ := os.UserHomeDir()
	p := person{home: home}
	name := env("SUDO_USER")
	if os.Geteuid() != 0 || name == "" || name == "root" {
		return p
	}
	u, err := user.Lookup(name)
	if err != nil {
		return p
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if errors.Join(uidErr, gidErr) != nil {
		return p
	}
	return person{home: u.HomeDir, switchTo: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// become makes a program run as the person.
func (p person) become(cmd *exec.Cmd) {
	if p.switchTo == nil {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.switchTo}
	cmd.Env = append(cmd.Env, "HOME="+p.home)
}
