// Package kvtest holds every engine to the promises of kv.Engine. An engine's own tests call Run, and
// Main in TestMain: the crash test runs the test binary again, as a writer that it kills.
package kvtest
