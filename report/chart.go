package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A chart is the map of what was judged: source partitions from top to bottom, record
// time from left to right.
type chart struct {
	From, To time.Time
	Bands    []band
}

// A band is a group of rows under one caption.
type band struct {
	Caption string
	Rows    []chartRow
}

// A chartRow is one partition, or several of which each cell shows the worst.
type chartRow struct {
	Label line
	Cells []cell
	Note  string // the row in words
}

// A cell is what became of one partition in one stretch of time, from the least bad to
// the worst.
type cell byte

const (
	blank     cell = iota // no records
	agrees                // judged, and the same
	open                  // not judged
	differing             // judged, and not the same
)

// cellSigns draw cells where there is only text.
const cellSigns = ".=!*"

const (
	chartSingles = 64 // so many partitions have a row each
	chartWorst   = 24 // of more, so many that need a look have one
	chartGroups  = 25 // and so many rows stand for all
)

// A strip is one partition before it becomes a row.
type strip struct {
	partition string
	cells     []cell
	windows   int
	judged    int
	worst     cell
}

// chartOf draws the map with so many cells a row. It is nil if there is nothing to draw.
func (r *Report) chartOf(bins int) *chart {
	c := &chart{}
	c.From, c.To = r.span()
	strips := r.strips(c, bins)
	if len(strips) == 0 {
		return nil
	}
	if len(strips) <= chartSingles {
		c.Bands = []band{{Caption: fmt.Sprintf("%s of the source, one a row", counted(len(strips), "partition")), Rows: rowsOf(strips)}}
		return c
	}
	if worst := worstOf(strips); len(worst) > 0 {
		shown := worst[:min(len(worst), chartWorst)]
		caption := fmt.Sprintf("%s with something that does not agree or was not judged", counted(len(worst), "partition"))
		if len(shown) < len(worst) {
			caption += fmt.Sprintf(", the worst %d of them", len(shown))
		}
		c.Bands = append(c.Bands, band{caption, rowsOf(shown)})
	}
	c.Bands = append(c.Bands, grouping(strips))
	return c
}

// span is the record time from the first window to the last.
func (r *Report) span() (from, to time.Time) {
	for _, w := range r.Windows {
		if !w.From.IsZero() && (from.IsZero() || w.From.Before(from)) {
			from = w.From
		}
		if w.To.After(to) {
			to = w.To
		}
	}
	return from, to
}

func (r *Report) strips(c *chart, bins int) []strip {
	byPartition, holes := map[string][]verify.Window{}, r.holes()
	for p := range holes {
		byPartition[p] = nil // one that nothing was read of has a row, too
	}
	for _, w := range r.Windows {
		byPartition[w.Partition] = append(byPartition[w.Partition], w)
	}
	out := make([]strip, 0, len(byPartition))
	for p, ws := range byPartition {
		s := strip{partition: p, cells: make([]cell, bins), windows: len(ws)}
		for _, w := range ws {
			s.window(c, w)
		}
		for _, u := range holes[p] {
			s.hole(c, ws, u)
		}
		s.worst = slices.Max(s.cells)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b strip) int { return natural(a.partition, b.partition) })
	return out
}

// natural orders names that end in numbers by the number.
func natural(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

func (s *strip) window(c *chart, w verify.Window) {
	mark := open
	switch w.Verdict {
	case verify.Consistent:
		mark = agrees
	case verify.Inconsistent:
		mark = differing
	}
	if mark != open {
		s.judged++
	}
	from, to := w.From, w.To
	if from.IsZero() {
		from = c.From
	}
	if to.Before(from) {
		to = from
	}
	s.paint(c, from, to, mark)
}

// paint marks every cell that the time touches, if it is worse than what stands there.
func (s *strip) paint(c *chart, from, to time.Time, mark cell) {
	for i := c.bin(from, len(s.cells)); i <= c.bin(to, len(s.cells)); i++ {
		s.cells[i] = max(s.cells[i], mark)
	}
}

// hole paints a range that has no window, between the windows that it lies between. It
// leaves what was judged alone, but is always seen.
func (s *strip) hole(c *chart, ws []verify.Window, u verify.Uncovered) {
	from, to := c.From, c.To
	for _, w := range ws {
		if !w.Through.After(u.After) && w.To.After(from) {
			from = w.To
		}
		if u.Through != (bridge.Position{}) && !u.Through.After(w.After) && w.From.Before(to) && !w.From.IsZero() {
			to = w.From
		}
	}
	blanks := 0
	for i := c.bin(from, len(s.cells)); i <= c.bin(to, len(s.cells)); i++ {
		if s.cells[i] == blank {
			s.cells[i] = open
			blanks++
		}
	}
	if blanks == 0 && !slices.Contains(s.cells, open) {
		s.cells[c.bin(from, len(s.cells))] = open
	}
}

func (c *chart) bin(t time.Time, bins int) int {
	length := c.To.Sub(c.From)
	if length <= 0 {
		return 0
	}
	return max(0, min(bins-1, int(float64(t.Sub(c.From))/float64(length)*float64(bins))))
}

func rowsOf(strips []strip) []chartRow {
	out := make([]chartRow, len(strips))
	for i, s := range strips {
		out[i] = chartRow{Label: say(data(short(s.partition))), Cells: s.cells,
			Note: fmt.Sprintf("%s of %s judged; worst: %s", grouped(s.judged), counted(s.windows, "window"), s.worst)}
	}
	return out
}

func (c cell) String() string {
	return [...]string{"no records", "agrees", "not judged", "differs"}[c]
}

// worstOf lists the strips that need a look, the worst first.
func worstOf(strips []strip) []strip {
	var out []strip
	for _, s := range strips {
		if s.worst > agrees || s.judged < s.windows {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b strip) int { return cmp.Compare(b.worst, a.worst) })
	return out
}

// grouping lays neighbours over each other until they fit a screen.
func grouping(strips []strip) band {
	size := (len(strips) + chartGroups - 1) / chartGroups
	b := band{Caption: fmt.Sprintf("All %s, %s a row, each cell as the worst of them", counted(len(strips), "partition"), grouped(size))}
	for group := range slices.Chunk(strips, size) {
		all := strip{cells: make([]cell, len(group[0].cells))}
		for _, s := range group {
			all.windows, all.judged = all.windows+s.windows, all.judged+s.judged
			for i, c := range s.cells {
				all.cells[i] = max(all.cells[i], c)
			}
		}
		label := say(data(short(group[0].partition)), " to ", data(short(group[len(group)-1].partition)))
		b.Rows = append(b.Rows, chartRow{Label: label, Cells: all.cells,
			Note: fmt.Sprintf("%s of %s judged; worst: %s", grouped(all.judged), counted(all.windows, "window"), slices.Max(all.cells))})
	}
	return b
}

// short names a partition where there is little room.
func short(partition string) string {
	if n, ok := strings.CutPrefix(partition, "shardId-"); ok {
		if n = strings.TrimLeft(n, "0"); n == "" {
			n = "0"
		}
		return tail(n, shortest)
	}
	return tail(partition, shortest)
}

// shortest is how many characters a partition has on the map; the last ones tell it apart.
const shortest = 18

// counted is a number and its noun.
func counted[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}
