// Package config reads the configuration of a node: flags, MICRO_* variables and /etc/micro/micro.yml become one
// Node, or one error that lists all faults. It changes nothing.
package config
