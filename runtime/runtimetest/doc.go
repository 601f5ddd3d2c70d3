// Package runtimetest has fakes of everything that an agent uses: a driver whose containers follow a small model of an
// app, and a router, logs, images and a memory that record their calls.
//
// All of them share a Fault, which makes their kth call fail, or the process crash there. A crash ends only the
// caller's process: the containers and the memory are still there for the next one.
//
// The fakes use the standard library's clock, so that tests can run them in a synctest bubble.
package runtimetest
