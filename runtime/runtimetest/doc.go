// Package runtimetest has what an agent stands on, in memory: a driver whose containers follow a small
// model of an app, and a router, logs, images and a memory that write down what is asked of them.
//
// All of them share a Fault, which lets their kth call fail, or the process crash there. A crash stops
// the caller's life alone: containers, and what was remembered, are still there for the next one.
//
// Time is the standard library's, so that a test in a synctest bubble owns it.
package runtimetest
