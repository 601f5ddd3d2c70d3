package cloud

// Measure returns the changes that note what a node's machine has.
func (s *State) Measure(n NodeName, size Capacity) []Change {
	node, ok := s.Node(n)
	if !ok {
		return nil
	}
	return s.RecordStart(n, size, node.Version, node.Reads)
}

// RecordStart returns the changes that note what a node's machine has, which micro it runs, and up to which version that
// reads the store.
func (s *State) RecordStart(n NodeName, size Capacity, version string, reads int) []Change {
	node, ok := s.Node(n)
	if !ok || node.Size == size && node.Version == version && node.Reads == reads {
		return nil
	}
	next := *node
	next.Size, next.Version, next.Reads = size, version, reads
	return []Change{Put(&next)}
}

// largest is the memory of the largest machine of the cloud, 0 where that of one is not known.
func (s *State) largest() (bytes int64) {
	for n := range s.Nodes() {
		if n.Size.Memory == 0 {
			return 0
		}
		bytes = max(bytes, n.Size.Memory)
	}
	return bytes
}

// checkSize reports a process that is to have more memory than any machine of the cloud has: it could never
// run as asked for. What was so before is left: machines may have been replaced by smaller ones.
func (s *State) checkSize(was, want Formation) error {
	largest := s.largest()
	if largest == 0 {
		return nil
	}
	var errs []error
	for _, name := range sortedKeys(want) {
		if m := want[name].Memory; m > largest && m != was[name].Memory {
			errs = append(errs, Errorf(Invalid, "process %s: no machine of this cloud has %s of memory, the largest has %.1fG", name, FormatSize(m), float64(largest)/(1<<30)).
				WithHint("ask for less, for example %s", FormatSize(min(DefaultMemory, largest/2))))
		}
	}
	return Join(errs...)
}
