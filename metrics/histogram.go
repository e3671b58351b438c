package metrics

import "math"

// lagBounds are the upper bounds of the buckets of the end-to-end lag, in seconds.
var lagBounds = [...]float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400}

// A histogram is one of Prometheus, made for pages: to observe every record would cost
// more than to decode it.
type histogram struct {
	bounds     []float64
	cumulative []uint64 // up to each bound
	count      uint64
	sum        float64
}

func newHistogram(bounds [len(lagBounds)]float64) histogram {
	return histogram{bounds: bounds[:], cumulative: make([]uint64, len(bounds))}
}

// spread observes n values, spread evenly from low to high. Values below zero, from a
// clock that is behind, count as zero.
func (h *histogram) spread(n int64, low, high float64) {
	low, high = max(min(low, high), 0), max(low, high, 0)
	for i, bound := range h.bounds {
		part := 1.0
		if high > bound {
			part = 0
			if low < bound {
				part = (bound - low) / (high - low)
			}
		}
		h.cumulative[i] += uint64(math.Floor(float64(n) * part))
	}
	h.count += uint64(n)
	h.sum += float64(n) * (low + high) / 2
}

func (h *histogram) buckets() map[float64]uint64 {
	out := make(map[float64]uint64, len(h.bounds))
	for i, bound := range h.bounds {
		out[bound] = h.cumulative[i]
	}
	return out
}
