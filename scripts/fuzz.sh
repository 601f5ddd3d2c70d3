#!/bin/sh
# Runs every fuzz test of the module for TIME, one after another. A package whose tests can't be listed ends it: its
# fuzz tests would be left out without a word.
set -eu
packages=$(go list ./...)
for package in $packages; do
	listed=$(go test -list '^Fuzz' "$package")
	for test in $(printf '%s\n' "$listed" | grep '^Fuzz' || true); do
		echo "== $package $test"
		go test -run '^$' -fuzz "^$test\$" -fuzztime "${1:-30s}" "$package"
	done
done
