// Package layer writes the files of an image's layers into snapshots, for images that are pulled or imported
// as for those that are built.
//
// The invariant: a container can work with all that is written. Every file belongs to an ID that the container
// has, and no device node is there that leads to hardware. Set-user-ID bits and capabilities of files stay:
// official images have them, and a container is mounted so that they have no effect.
package layer
