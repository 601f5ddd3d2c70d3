// Package kv is what the store asks of an engine: keys and values that change in transactions, each at
// a revision of its own, and a feed of those changes.
//
// It exists apart from the engines so that they need not know each other, and is small enough that both
// an embedded file and a cluster of etcd can keep every word of it. The promises stand at Engine; the
// suite in kvtest holds an engine to them.
package kv
