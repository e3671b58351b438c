package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// A descs has every metric that is exported.
type descs struct {
	build, lag, left, endToEnd, records, letters, bytes, inflight, suppressed, checkpoint, retries, throttled,
	headroom, blocking, waiting, stalled, partitions, paused, limitRecords, limitBytes *prometheus.Desc
}

func newDescs(c Config) descs {
	ends := prometheus.Labels{"direction": c.Direction, "stream": c.Stream, "topic": c.Topic}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("bridge_"+name, help, labels, ends)
	}
	return descs{
		build:        prometheus.NewDesc("bridge_build_info", "1, with the version of the program.", []string{"version", "goversion"}, nil),
		lag:          desc("lag_seconds", "What arrived longer ago than this is on the target: how far the last page was behind, and the time since. Absent where not known.", "partition"),
		left:         desc("lag_records", "Records of the source behind those that are on the target, at most, when the last page was read: known of Kafka, and of a shard that was read to its tip.", "partition"),
		endToEnd:     desc("end_to_end_lag_seconds", "From arrival at the source to acknowledgement by the target; the records of a page are spread evenly between its oldest and its newest."),
		records:      desc("records_total", "What became of the records that were read, since the workflow began.", "outcome"),
		letters:      desc("dead_letter_total", "Dead letters that this process put, by why a record cannot be carried.", "reason"),
		bytes:        desc("bytes_total", "Bytes of keys, values and headers that this process wrote to the target."),
		inflight:     desc("inflight_records", "Records that were given to the target and are not acknowledged."),
		suppressed:   desc("duplicates_suppressed_total", "Records that were found on the target after a restart and not written again, since the workflow began."),
		checkpoint:   desc("checkpoint_age_seconds", "Since the last checkpoint; an idle mirror saves one every 10 minutes. Absent before the first."),
		retries:      desc("retries_total", "Tries that failed and were repeated.", "op"),
		throttled:    desc("throttle_seconds_total", "Time waited because a service throttled, over all partitions."),
		headroom:     desc("retention_headroom_seconds", "Until the source drops the oldest record that is not on the target, if nothing moves. Absent where not known.", "partition"),
		blocking:     desc("blocking_parents", "Shards whose end is not checkpointed yet and that others wait for."),
		waiting:      desc("waiting_partitions", "Shards that wait for the end of a parent."),
		stalled:      desc("stalled_lanes", "Partitions of which no page was done for a minute, and neither a pause nor a bound nor a parent is why."),
		partitions:   desc("partitions", "Source partitions that have not ended."),
		paused:       desc("paused", "1 while the intake is paused."),
		limitRecords: desc("limit_records_per_second", "Bound on what is read; 0 is none."),
		limitBytes:   desc("limit_bytes_per_second", "Bound on what is read; 0 is none."),
	}
}

func (d *descs) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.build, d.lag, d.left, d.endToEnd, d.records, d.letters, d.bytes, d.inflight, d.suppressed, d.checkpoint, d.retries,
		d.throttled, d.headroom, d.blocking, d.waiting, d.stalled, d.partitions, d.paused, d.limitRecords, d.limitBytes}
}

// stallAfter is how long a partition may be without a page before it counts as stalled; a
// read of one that holds nothing takes a few seconds.
const stallAfter = time.Minute

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	p, now := e.progress(), time.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(e.descs.build, 1, e.config.Version, runtime.Version())
	// Before the checkpoint is read nobody knows them, and a zero that becomes a million looks like a million at once.
	if !p.Source.IsZero() {
		for outcome, n := range outcomes(p.Counts) {
			counter(e.descs.records, float64(n), outcome)
		}
		counter(e.descs.suppressed, float64(p.Counts.Present))
	}
	gauge(e.descs.inflight, float64(p.UnderWay))
	limits := e.limits()
	gauge(e.descs.paused, map[bool]float64{true: 1}[limits.Paused])
	gauge(e.descs.limitRecords, float64(limits.RecordsPerSecond))
	gauge(e.descs.limitBytes, float64(limits.BytesPerSecond))
	e.collectOwn(now, gauge, counter)
	ch <- e.collectLag()
	e.collectPartitions(p, now, gauge)
}

func (e *Exporter) limits() mirror.Limits {
	if e.config.Gate == nil {
		return mirror.Limits{}
	}
	return e.config.Gate.Limits()
}

type emit func(d *prometheus.Desc, v float64, labels ...string)

// collectOwn is what the hooks counted.
func (e *Exporter) collectOwn(now time.Time, gauge, counter emit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.checkpoint.IsZero() {
		gauge(e.descs.checkpoint, now.Sub(e.checkpoint).Seconds())
	}
	counter(e.descs.bytes, float64(e.bytes))
	for _, reason := range []string{bridge.ClassOversize, bridge.ClassUndecodable, bridge.ClassUnmappable} {
		counter(e.descs.letters, float64(e.letters[reason]), reason)
	}
	for _, op := range []string{"open", "read", "write", "list", "checkpoint", "identify", "dead letter"} {
		counter(e.descs.retries, float64(e.retries[op]), op)
	}
	counter(e.descs.throttled, e.throttled.Seconds())
}

func (e *Exporter) collectLag() prometheus.Metric {
	e.mu.Lock()
	defer e.mu.Unlock()
	return prometheus.MustNewConstHistogram(e.descs.endToEnd, e.lag.count, e.lag.sum, e.lag.buckets())
}

func (e *Exporter) collectPartitions(p mirror.Progress, now time.Time, gauge emit) {
	e.mu.Lock()
	retention := e.retention
	e.mu.Unlock()
	troubles, parents := e.Troubles(), map[string]bool{}
	var waiting, stuck, open float64
	for _, part := range p.Partitions {
		if part.Ended {
			continue
		}
		open++
		if len(part.Waiting) > 0 {
			waiting++
		}
		for _, parent := range part.Waiting {
			parents[parent] = true
		}
		if stalled(part, troubles[part.Partition], now) {
			stuck++
		}
		if part.Left >= 0 {
			gauge(e.descs.left, float64(part.Left), part.Partition)
		}
		behind, known := Behind(part, now)
		if !known {
			continue
		}
		gauge(e.descs.lag, behind.Seconds(), part.Partition)
		if retention > 0 {
			gauge(e.descs.headroom, (retention - behind).Seconds(), part.Partition)
		}
	}
	gauge(e.descs.partitions, open)
	gauge(e.descs.waiting, waiting)
	gauge(e.descs.blocking, float64(len(parents)))
	gauge(e.descs.stalled, stuck)
}

// Behind bounds how old a record can be that is not on the target: how far the last page
// was behind, and the time since. It reports false if the source did not say.
func Behind(p mirror.PartitionProgress, now time.Time) (time.Duration, bool) {
	if p.Asked.IsZero() || p.Lag < 0 {
		return 0, false
	}
	return p.Lag + max(now.Sub(p.Asked), 0), true
}

// stalled reports whether a partition is to be read and is not, or what was read does not
// get to the target: every try failed for a minute, a page has been on its way for one, or
// none was done for one and neither a pause nor a parent nor a bound explains it.
func stalled(p mirror.PartitionProgress, t Trouble, now time.Time) bool {
	switch {
	case p.Ended || len(p.Waiting) > 0 || p.Since.IsZero():
		return false
	case t.Last.Sub(t.Since) > stallAfter:
		return true
	case !p.Carrying.IsZero():
		return now.Sub(p.Carrying) > stallAfter
	}
	return now.Sub(p.Since)-p.Held > stallAfter
}

// outcomes are the counts by what became of records; read is the sum of those that
// balance, see bridge.Counts.
func outcomes(c bridge.Counts) map[string]int64 {
	return map[string]int64{
		"read": c.Read, "written": c.Written, "already_present": c.Present, "dead_lettered": c.DeadLettered,
		"dropped": c.Dropped, "loop_skipped": c.LoopSkipped, "foreign": c.Foreign, "rewind": c.Rewind,
	}
}
