#!/bin/sh
# Runs every fuzz test of the module for TIME, one after another.
set -eu
for package in $(go list ./...); do
	for test in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $test"
		go test -run '^$' -fuzz "^$test\$" -fuzztime "${1:-30s}" "$package"
	done
done
