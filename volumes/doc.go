// Package volumes manages the folders of apps' volumes: where they are on a node, what they take, and how one is backed up,
// restored, and moved to another node.
//
// A backup is made while all containers of the app are paused, so it has what the disk would have had after a power failure
// at one moment. They are paused as long as it takes to copy the volume on its node; encrypting and sending the copy comes
// after that.
//
// To restore or to move, a cloud.VolumeWork is written first. It takes the places of the app's instances away. What is
// received goes into a folder beside the app's (Folders.Receive). When no instance is left, that folder and the app's change
// places in one step (Folders.Exchange), and one transaction removes the work: the app starts again, for a move on the
// other node. The old data is deleted after that.
//
// Invariant: whatever is killed whenever, an app starts with all of its old data or with all of the new. A work whose process
// is gone is removed by the next process of its node, or by the leader if that node is away.
package volumes
