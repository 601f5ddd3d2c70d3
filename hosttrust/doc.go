// Package hosttrust makes this machine trust the certificate authority of a cloud, and undoes that. The machine is
// the one that the command line runs on, which need not be a node.
//
// Programs look in different places:
//
//   - most of them, curl, Go, Python and OpenSSL among them, in the system's store
//   - Firefox and Chromium in databases of NSS in the user's home, which certutil changes
//   - Java in a key store of its own, which keytool changes; Debian's follows the system's store
//
// Nothing is remembered elsewhere: an authority is stored under a name that has the private domain and a part of its
// fingerprint, by which any version of micro finds it again. Removing it leaves each store as it was without it.
package hosttrust
