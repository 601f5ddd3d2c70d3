// Package doctor checks a node and its machine, and suggests a command for each fault (micro doctor).
package doctor
