//go:build !linux

package cli

func isOurs(string) bool { return false }

func hasOurClock(string) bool { return false }
