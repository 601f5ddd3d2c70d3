package hosttrust

import (
	"os"
	"os/exec"
)

// person is whose browsers are changed.
type person struct{ home string }

func thisPerson(func(string) string) person {
	home, _ := os.UserHomeDir()
	return person{home: home}
}

func (person) become(*exec.Cmd) {}
