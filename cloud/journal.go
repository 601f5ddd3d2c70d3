package cloud

import "slices"

// journalSteps is how many steps back a journal remembers. Whoever lags further behind looks at everything.
const journalSteps = 256

// journal remembers which keys the last steps of an immutable thing changed, so that what is compiled
// from it need look at no more. It is immutable too: add returns another.
type journal[K any] struct {
	steps []journalStep[K] // by rising to; each starts where the one before ended
}

type journalStep[K any] struct {
	from, to uint64
	keys     []K
}

func (j journal[K]) add(from, to uint64, keys []K) journal[K] {
	steps := j.steps[max(0, len(j.steps)-journalSteps+1):]
	// Clip: two journals may grow from one, and must not write into the same array.
	return journal[K]{append(slices.Clip(steps), journalStep[K]{from, to, keys})}
}

func (j journal[K]) since(from, to uint64) ([]K, bool) {
	if from == to {
		return nil, true
	}
	i, ok := slices.BinarySearchFunc(j.steps, from, func(s journalStep[K], rev uint64) int {
		switch {
		case s.from < rev:
			return -1
		case s.from > rev:
			return 1
		}
		return 0
	})
	if !ok {
		return nil, false
	}
	var keys []K
	for _, s := range j.steps[i:] {
		keys = append(keys, s.keys...)
	}
	return keys, true
}
