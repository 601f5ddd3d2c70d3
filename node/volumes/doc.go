// Package volumes manages the folders of apps' volumes on a node.
package volumes
