// Package kv defines the engine that the store needs: keys and values that change in transactions, each with
// its own revision, and a feed of those changes.
//
// It is separate from the engines so that they need not know each other. The interface is small, so that both
// an embedded file and an etcd cluster can fulfil it. Engine documents the promises; package kvtest tests them.
package kv
