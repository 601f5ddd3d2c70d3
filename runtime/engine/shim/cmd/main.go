// Command cmd is the shim as a binary of its own, a sixth of micro's size and memory.
package main

import "github.com/protoduction/micro/runtime/engine/shim"

func main() { shim.Main() }
