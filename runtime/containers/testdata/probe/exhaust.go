package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/protoduction/micro/runtime/containers/testdata/quota"
)

// exhaust uses up each kernel quota, prints how much it got, and serves.
func exhaust([]string) {
	for _, q := range quota.All {
		n, err := 0, error(nil)
		for n < 1<<20 {
			if err = q.Take(n); err != nil {
				break
			}
			n++
		}
		fmt.Println(q.Name, n, err)
	}
	fmt.Println("terminals", openTerminals())
	serve(nil)
}

// openTerminals opens terminals until that fails.
func openTerminals() int {
	for n := range 1 << 16 {
		if _, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
			if _, err := os.Stat("/dev/ptmx"); err != nil {
				fmt.Println(err)
			}
			return n
		}
	}
	return 1 << 16
}
