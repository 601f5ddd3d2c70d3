// Package etcdkv keeps a store in etcd: the engine of a cloud of several nodes.
//
// An Engine talks to etcd through a client, which may be that of a member in the same process. Its invariant: it finds
// out for every transaction whether etcd committed it, even if answers are lost. For that, each engine has its own key in
// etcd, the writer's key, and runs one transaction at a time. Each transaction has the condition that the writer's key
// has not changed since the engine last saw it, and writes that key. If an engine gets no answer, it writes the key
// itself. Either that succeeds, and the transaction can no longer be committed; or the engine finds that the transaction
// has written the key (commit.go).
//
// Revisions are etcd's minus one, because an empty etcd is at revision 1 and an empty store at 0. The store's keys are
// below "k/", so that a watch of all of them does not see the writers' keys, which are below "w/". In an etcd of the user's own,
// which may have other keys too, both are below a prefix.
package etcdkv
