package cloud

import "slices"

// changeLogSteps is how many steps back a changeLog remembers. Whoever lags further behind looks at everything.
const changeLogSteps = 256

// changeLog remembers which keys the last steps of an immutable thing changed, so that what is compiled
// from it need look at no more. It is immutable too: add returns another.
type changeLog[K any] struct {
	steps []changeStep[K] // by rising to; each starts where the one before ended
}

type changeStep[K any] struct {
	from, to uint64
	keys     []K
}

func (l changeLog[K]) add(from, to uint64, keys []K) changeLog[K] {
	steps := l.steps[max(0, len(l.steps)-changeLogSteps+1):]
	// Clip: two logs may grow from one, and must not write into the same array.
	return changeLog[K]{append(slices.Clip(steps), changeStep[K]{from, to, keys})}
}

func (l changeLog[K]) since(from, to uint64) ([]K, bool) {
	if from == to {
		return nil, true
	}
	i, ok := slices.BinarySearchFunc(l.steps, from, func(s changeStep[K], rev uint64) int {
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
	for _, s := range l.steps[i:] {
		keys = append(keys, s.keys...)
	}
	return keys, true
}
