package router

// target is one of a route's targets, with the pools that it leads to now: two during a rolling switch.
type target struct {
	weighted bool
	weight   int
	pools    []*Pool
}

func (t target) ready() uint64 {
	n := 0
	for _, p := range t.pools {
		n += len(p.Endpoints)
	}
	return uint64(n)
}

// shares turns targets into pools with whole-numbered shares.
//
// If all targets have weights, these are relative to each other. Otherwise weights are percent, and targets without a weight
// share the rest by their ready instances. A target splits its share among its pools by their ready instances. Targets
// without ready instances take no requests; the others keep their ratio.
func shares(targets []target) []share {
	var all, free uint64 // ready instances of all targets, and of those without a weight
	percent := uint64(0)
	weighted := 0
	for _, t := range targets {
		all += t.ready()
		if t.weighted {
			weighted++
			percent += uint64(max(t.weight, 0))
		} else {
			free += t.ready()
		}
	}
	if all == 0 {
		return nil
	}
	rest := uint64(0)
	if percent < 100 {
		rest = 100 - percent
	}
	// Shares as fractions: num/den of an arbitrary whole.
	type part struct {
		num, den uint64
		pool     *Pool
	}
	var parts []part
	common := uint64(1)
	for _, t := range targets {
		ready := t.ready()
		for _, p := range t.pools {
			n := uint64(len(p.Endpoints))
			if n == 0 {
				continue
			}
			q := part{n, 1, p}
			switch {
			case weighted == 0:
			case t.weighted:
				q.num, q.den = uint64(max(t.weight, 0))*n, ready
			default:
				q.num, q.den = rest*n, free
			}
			if q.num == 0 {
				continue
			}
			parts = append(parts, q)
			common = min(lcm(common, q.den), rounding)
		}
	}
	var out []share
	divisor := uint64(0)
	for _, q := range parts {
		w := max(q.num*common/q.den, 1)
		out = append(out, share{w, q.pool})
		divisor = gcd(divisor, w)
	}
	for i := range out {
		out[i].weight /= divisor
	}
	return out
}

// rounding is what shares are rounded to where very many instances have no small common denominator.
const rounding = 1 << 20

func lcm(a, b uint64) uint64 { return a / gcd(a, b) * b }
