// Package imagestest makes small images and image archives for tests.
package imagestest
