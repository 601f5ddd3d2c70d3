// Package debimage makes container images out of Debian packages, without a registry: for the demo's
// base image and for tests with real Python, Node, Redis, PostgreSQL and nginx in them.
//
// It owns a cache folder (in os.UserCacheDir) of downloaded packages, resolved package lists and
// finished images. The invariant: an image's bytes depend on its recipe and its packages' bytes alone,
// so that two machines with the same package versions make the same digest, and once made an image is
// found again without a network.
//
// Packages are not installed. Their files are merged into one layer as they are, owners and modes
// included, which needs neither root nor a chroot; no maintainer script runs. What those scripts would
// have made and a container needs (passwd, the CA bundle, busybox's applets, /tmp) is added by hand in
// base.go. Each image follows the conventions of the official one of its name: entrypoint, user,
// data folder, port.
package debimage
