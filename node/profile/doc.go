// Package profile says what a node is made of: its program, its kernel, its helpers, its limits and settings. Two clouds
// whose nodes are equal in this run the same apps in the same way.
//
// A fact's value must not depend on the machine's size, its addresses or its name: those differ from node to node. So a
// setting that was not given is "default", even if the default follows from the machine's size.
package profile
