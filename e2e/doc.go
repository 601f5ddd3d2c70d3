// Package e2e tests micro from outside, as its users meet it: each script in testdata/script has a node of its own with real
// containers, and the blocks of commands in the documents are typed as they stand there.
//
// One file has one noun that scripts use, for example load, machines or pebble.
package e2e
