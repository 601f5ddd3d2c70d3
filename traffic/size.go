package traffic

// sizes are the limits beyond which an answer's length is unusual. Both are indices of Sample.Sizes, some powers of two
// away from the lengths of 90 % of the old release's answers.
type sizes struct {
	Small int `json:"small"` // below it
	Large int `json:"large"` // above it
}

// unusual is by how many powers of two an unusual answer is shorter or longer than those of the old release.
const unusual = 2

// chooseSizes returns the limits for a history of the old release; false if the history is too short.
func chooseSizes(old Sample) (s sizes, ok bool) {
	all := old.sized()
	if all < leastAnswers {
		return sizes{}, false
	}
	sum, small := uint64(0), -1
	for i, n := range old.Sizes {
		sum += n
		if small < 0 && float64(sum) >= .05*float64(all) {
			small = i
		}
		if float64(sum) >= .95*float64(all) {
			return sizes{small - unusual, i + unusual}, true
		}
	}
	return sizes{}, false
}

// sized returns the number of answers whose length was counted.
func (s Sample) sized() (n uint64) {
	for _, c := range s.Sizes {
		n += c
	}
	return n
}

// outside counts unusually short and unusually long answers.
func (s Sample) outside(limits sizes) (short, long uint64) {
	for i, c := range s.Sizes {
		switch {
		case i < limits.Small:
			short += c
		case i > limits.Large:
			long += c
		}
	}
	return short, long
}

// observeSizes adds the lengths of a block's answers.
func (t *Trial) observeSizes(old, a, b Sample) {
	if t.Sizes == nil {
		if limits, ok := chooseSizes(old); ok {
			t.Sizes = &limits
		}
		return
	}
	n, m := float64(a.sized()), float64(b.sized())
	oldShort, oldLong := a.outside(*t.Sizes)
	newShort, newLong := b.outside(*t.Sizes)
	t.Totals.Old.Unusual += oldShort + oldLong
	t.Totals.New.Unusual += newShort + newLong
	bl := &t.blocks
	bl.sizes[0] = bl.sizes[0].plus(pair{n, float64(oldShort), m, float64(newShort)})
	bl.sizes[1] = bl.sizes[1].plus(pair{n, float64(oldLong), m, float64(newLong)})
	if bl.sizes[0].oldN == 0 || bl.sizes[0].newN == 0 {
		return
	}
	for i, p := range bl.sizes {
		t.SizeHarm[i].add(grossLifts, p, t.Known.Sizes[i].estimate(0.01), grossTolerance, bl.tookSizes)
		t.Known.Sizes[i].add(p.oldN, p.oldK)
		bl.sizes[i] = pair{}
	}
	bl.tookSizes = 0
}
