package images

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// exposedPorts returns the TCP ports that an image exposes, each once: first those of its own EXPOSE instructions in
// the order in which they are written, then others, ascending. The config itself has no order; its history says
// which instruction came last. An instruction of the image that it is based on comes before its own.
func exposedPorts(exposed map[string]struct{}, history []ocispec.History) []int {
	set := map[int]bool{}
	for port := range exposed {
		for _, p := range tcpPorts(port) {
			set[p] = true
		}
	}
	var ports []int
	add := func(all ...int) {
		for _, p := range all {
			if set[p] {
				delete(set, p)
				ports = append(ports, p)
			}
		}
	}
	add(lastExpose(history)...)
	add(slices.Sorted(maps.Keys(set))...)
	return ports
}

// exposeStep finds an EXPOSE instruction in how builders write it down: "EXPOSE [8080/tcp]" (BuildKit),
// "EXPOSE map[8080/tcp:{}]" and "/bin/sh -c #(nop)  EXPOSE 8080" (Docker, Podman).
var (
	exposeStep = regexp.MustCompile(`^(?:/bin/sh -c #\(nop\)\s+)?EXPOSE\s+(.*)$`)
	portOf     = regexp.MustCompile(`\d+(?:-\d+)?(?:/\w+)?`)
)

// lastExpose returns the TCP ports of the last EXPOSE instruction, and of those right before it.
func lastExpose(history []ocispec.History) (ports []int) {
	for _, step := range slices.Backward(history) {
		m := exposeStep.FindStringSubmatch(step.CreatedBy)
		if m == nil {
			if ports != nil {
				return ports
			}
			continue
		}
		var here []int
		for _, port := range portOf.FindAllString(m[1], -1) {
			here = append(here, tcpPorts(port)...)
		}
		ports = append(here, ports...)
	}
	return ports
}

// tcpPorts reads "8080/tcp", "8080" and "8000-8002/tcp". It returns nil for another protocol.
func tcpPorts(port string) (ports []int) {
	number, protocol, _ := strings.Cut(port, "/")
	if protocol != "" && !strings.EqualFold(protocol, "tcp") {
		return nil
	}
	first, last, ok := strings.Cut(number, "-")
	if !ok {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 {
		return nil
	}
	for p := from; p <= to; p++ {
		ports = append(ports, int(p))
	}
	return ports
}
