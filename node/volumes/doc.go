// Package volumes keeps the folders of apps' volumes on a node.
package volumes
