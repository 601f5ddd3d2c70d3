// Package broker speaks to Open Service Brokers, version 2.17 of the specification
// (https://github.com/openservicebrokerapi/servicebroker/blob/v2.17/spec.md).
//
// A Client sends one request and says in an Answer what its outcome means for the platform: that is the table under "Orphan
// Mitigation" of the specification, as the pure function outcomeOf. The package remembers nothing and repeats nothing: what
// to do next is the caller's to decide, from the state.
//
// A broker is somebody else's program. So each answer is bounded in size and time, redirects are not followed, and what a
// broker says is shown to people only.
package broker
