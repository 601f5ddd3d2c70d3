// Package cluster joins the nodes of a cloud: it owns the port on which they reach each other, the certificates by
// which they know each other, the tokens by which a new one joins, and the etcd that keeps the cloud's store.
//
// Its invariants: every connection between nodes is TLS, and both sides have shown a certificate of the cloud's own
// authority (the one exception is a node that joins: it knows the cloud by the fingerprint in its token, and the cloud
// knows it by the token's secret). There is one port for everything, and no port in clear text.
//
// # The port
//
// Connections are told apart by ALPN (RFC 7301), the name of a protocol in TLS's first message:
//
//	micro-api          the API of the other node
//	micro-etcd         etcd's clients: nodes that have no copy of the store
//	micro-registry     images
//	micro-join         a node that joins; it shows no certificate
//	micro-record       what a node knows of the one that asks, which may have been removed, or have got back an old disk
//	none               raft, between the etcds: etcd's peers can't be taught to name a protocol
//
// # Voters
//
// One node, or two, have one voter: a second voter would only make it more likely that one is missing. The second node
// has a copy all the same (a learner, in etcd's words), so that nothing is lost with the first. The third node makes
// the three of them voters, and the fifth makes it five. Which nodes are voters is desired state (cloud.Node.Store),
// chosen by a pure function; each node compares that with what its etcd is, and takes the next step (Member).
//
// # An etcd of the user's own
//
// Then the nodes are only its clients (external.go): none has a copy of the store, and no voters are chosen. The authority,
// the tokens and the port are the same.
package cluster
