// Package config is how a node is set up: flags, MICRO_* variables and /etc/micro/micro.yml become one
// Node, or one error that lists everything that is wrong. It touches nothing but what it reads.
package config
