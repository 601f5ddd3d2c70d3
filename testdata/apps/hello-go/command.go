package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// command is what the program does when it is run with arguments: the image has no shell.
func command(name string, args []string) int {
	switch name {
	case "echo":
		fmt.Println(strings.Join(args, " "))
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "id":
		fmt.Printf("uid=%d gid=%d pid=%d\n", os.Getuid(), os.Getgid(), os.Getpid())
	case "stderr":
		fmt.Fprintln(os.Stderr, strings.Join(args, " "))
	case "tty":
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println("not a tty")
			return 1
		}
		fmt.Println(size.Row, size.Col)
	case "sleep":
		time.Sleep(millis(args[0], 0))
	case "exit":
		return number(args[0], 1)
	default:
		fmt.Fprintln(os.Stderr, "hello: no command", name)
		return 127
	}
	return 0
}
