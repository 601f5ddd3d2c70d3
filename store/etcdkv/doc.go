// Package etcdkv keeps a store in etcd: the engine of a cloud of several nodes.
//
// An Engine talks to etcd through a client, which may be that of a member in the same process. Its invariant: of
// every transaction it finds out whether etcd carried it out, whatever answers get lost. For that each engine has a
// key of its own in etcd, the writer's key, and lets one transaction at a time be under way. A transaction demands
// that the writer's key is as the engine last saw it, and writes it. So an engine that got no answer writes the key
// itself: either it succeeds, and then the transaction can't happen any more, or it finds that the transaction has
// written the key (commit.go).
//
// Revisions are etcd's less one, as an empty etcd is at revision 1 and an empty store at 0. The store's keys are
// below "k/", so that a watch of all of them does not see the writers' keys, which are below "w/".
package etcdkv
