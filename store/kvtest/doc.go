// Package kvtest tests the promises of kv.Engine for any engine. An engine's tests call Run, and Main in
// TestMain: the crash test runs the test binary again as a writer, and kills it.
package kvtest
