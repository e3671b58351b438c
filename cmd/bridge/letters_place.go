package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/deadletter"
	"github.com/kinesis-msk-bridge/bridge/deadletter/s3letters"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A place is where dead letters go, as preflight found it.
type place struct {
	where string // empty if there can be none
	found string
	made  bool // when the mirror starts: a topic that is missing
	err   error
}

// lettersPlace finds out, as far as can be told without leaving anything there, whether the
// place of dead letters can hold them. That nobody may write to a topic, or to a stream at
// an endpoint of one's own, shows only when the first letter is put.
func (p *pair) lettersPlace(ctx context.Context) place {
	if !p.Config.keepsLetters() {
		return place{}
	}
	out := place{where: p.Config.DeadLetters}
	switch kind, name, _ := cutPlace(p.Config.DeadLetters); kind {
	case "file":
		out.found, out.err = "the file can be written", deadletter.Writable(name)
	case "s3":
		out.found = "objects can be listed and put"
		c, err := p.bucket(ctx, name, state.Workflow{Name: p.Config.Workflow})
		if out.err = err; err == nil {
			out.err = s3letters.Writable(ctx, c)
		}
	case "stream":
		out.found = "the stream is there, and its records are large enough"
		client, err := p.letterStream(ctx, name)
		if out.err = err; err == nil {
			out.err = p.fitsStream(name, client.Info().MaxRecordSize)
		}
		if out.err == nil {
			var note string
			note, out.err = mayWrite(ctx, client)
			out.found += note
		}
	default:
		out.found, out.made, out.err = p.lettersTopic(ctx, name)
	}
	return out
}

// mayWrite reports why letters cannot be put into a stream and read again, or notes what it
// could not find out.
func mayWrite(ctx context.Context, c *kinesisstream.Client) (note string, err error) {
	rights, err := c.Rights(ctx, true)
	for _, r := range rights {
		if r.Err != nil {
			return "", r.Err
		}
		if r.Unknown != "" {
			note = "; cannot tell whether " + r.Action + " is allowed: " + r.Unknown
		}
	}
	return note, err
}

func (p *pair) lettersTopic(ctx context.Context, name string) (found string, made bool, err error) {
	t, err := p.kafka.Topic(ctx, name)
	switch {
	case errors.Is(err, bridge.ErrMissing):
		return "the topic will be created", true, nil
	case err != nil:
		return "", false, err
	case strings.Contains(t.CleanupPolicy, "compact"):
		return "", false, bridge.WithHint(fmt.Errorf("topic %s has cleanup.policy=%s: of letters with one key only the last would stay: %w", name, t.CleanupPolicy, bridge.ErrRefused),
			"set cleanup.policy=delete, or name another topic in dead_letters")
	}
	return "the topic is there, and its messages are large enough", false, p.fitsTopic(t)
}

// check judges the place.
func (l place) check(c *checks) {
	if l.where == "" {
		return
	}
	evidence, fix := l.where+": "+l.found, "make the place of dead letters reachable, or name another one in dead_letters"
	if l.err != nil {
		evidence = l.where + ": " + l.err.Error()
		if hint := bridge.Hint(l.err); hint != "" {
			fix = hint
		}
	}
	c.add("dead-letters", l.err != nil, levelFail, evidence, fix)
}
