// Package brokertest is an Open Service Broker for tests, written from version 2.17 of the specification. It refuses requests
// that the specification does not allow, and fails as it is told to.
package brokertest
