// Package cloudtest reads views from text and writes them as text, so that a test of a pure function is text
// in, text out.
package cloudtest
