// Package deploy takes a push from its request to a release that answers: it receives the folder, has the
// image built, pulled or imported, writes the release, and waits for the roll-out. It also keeps what the
// next push can use again: the files of the last upload, and what each build printed.
//
// The invariant: a push changes the cloud in exactly one transaction, which writes its release. Before it,
// whatever is killed, nothing has changed; after it, the release goes on without the push, and the push is
// found again by its release. So a push needs no record of its own in the store: what it holds in memory
// and on disk may be lost at any time, and a push that has ended leaves no file, process or goroutine.
//
// The package knows neither HTTP nor containerd. Pushes will come from other places than the API (a Git
// server, a pipeline of the cloud's own), and what they share is here; and the image collector must be able
// to ask which images a push still needs without asking the server of an API.
package deploy
