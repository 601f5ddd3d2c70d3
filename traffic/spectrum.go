package traffic

import "math"

// spectrum counts the answers of both releases by their time, in one block of time. Bin i counts those between the
// quantiles i-1 and i of the old release. For the new release the margin is added to these limits.
type spectrum struct {
	old, new [len(quantiles) + 1]float64
}

func (s spectrum) plus(o spectrum) spectrum {
	for i := range s.old {
		s.old[i] += o.old[i]
		s.new[i] += o.new[i]
	}
	return s
}

// above returns the pair of the answers above quantile i.
func (s spectrum) above(i int) (p pair) {
	for k := range s.old {
		p.oldN += s.old[k]
		p.newN += s.new[k]
		if k > i {
			p.oldK += s.old[k]
			p.newK += s.new[k]
		}
	}
	return p
}

// tilts are the shifts of the whole distribution to bet on: each bin becomes likelier than the bin before by
// exp(tilt).
var tilts = []lift{{0.1, 2, 1, .65}, {0.3, 2, 1, .2}, {0.6, 2, 1, .1}, {1.5, 2, 1, .05}}

// shifted returns the log-likelihood ratio of the counts: if the new release's answers are tilted towards long times,
// against both releases being alike. The pooled distribution is the nearest one under which the new release is
// stochastically no slower, because the likelihood ratio grows with the bin (docs/verdict.md).
func (s spectrum) shifted(old [len(quantiles) + 1]float64, tilt float64) float64 {
	var tilted [len(quantiles) + 1]float64
	sum, oldN, newN := 0.0, 0.0, 0.0
	for i, p := range old {
		tilted[i] = p * math.Exp(tilt*float64(i))
		sum += tilted[i]
		oldN += s.old[i]
		newN += s.new[i]
	}
	ratio := 0.0
	for i, p := range old {
		q := tilted[i] / sum
		pooled := (oldN*p + newN*q) / (oldN + newN)
		if s.old[i] > 0 {
			ratio += s.old[i] * math.Log(p/pooled)
		}
		if s.new[i] > 0 {
			ratio += s.new[i] * math.Log(q/pooled)
		}
	}
	return ratio
}
