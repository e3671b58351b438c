package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// loopOf is the way that records take from target back to source through other workflows,
// the shortest, as their names; nil if there is none.
func loopOf(others []kafkastream.Neighbour, source, target bridge.Identity) []string {
	ways := map[bridge.Identity][]string{target: {}}
	for next := []bridge.Identity{target}; len(next) > 0; next = next[1:] {
		for _, o := range others {
			if o.Source != next[0] {
				continue
			}
			way := append(append([]string{}, ways[next[0]]...), o.Workflow)
			if o.Target == source {
				return way
			}
			if _, seen := ways[o.Target]; !seen {
				ways[o.Target] = way
				next = append(next, o.Target)
			}
		}
	}
	return nil
}

// loop says by which workflows of the cluster records would come back to the source; empty if
// by none that can be seen.
func loop(ctx context.Context, c *kafkastream.Client, workflow string, source, target bridge.Identity) (way string, err error) {
	others, err := kafkastream.Neighbours(ctx, c, workflow)
	if err != nil {
		return "", fmt.Errorf("look for other workflows of the cluster: %w", err)
	}
	return strings.Join(loopOf(others, source, target), ", then "), nil
}

const loopFix = "records would go round without end: stop one of the workflows, and if it has ended for good delete its topics, whose names begin with bridge.%s."

// noLoop refuses to move records that another workflow brings back to where they came from.
func (p *pair) noLoop(ctx context.Context) error {
	way, err := loop(ctx, p.kafka, p.Config.Workflow, p.source, p.target)
	if err != nil || way == "" {
		return err
	}
	last := way[strings.LastIndex(way, " ")+1:]
	return bridge.WithHint(
		fmt.Errorf("what workflow %q writes into %s comes back to its source %s by workflow %s: %w", p.Config.Workflow, p.target.Name, p.source.Name, way, bridge.ErrState),
		fmt.Sprintf(loopFix, last))
}

// lookForLoop notes for the checks by which workflows records would come back.
func (s *survey) lookForLoop(ctx context.Context, p *pair) error {
	if s.stream.ARN == "" || s.topic.Name == "" {
		return nil // what is created later is the end of no other workflow
	}
	source, err := p.kinesis.Identity(ctx)
	if err != nil {
		return err
	}
	target := s.topic.Identity()
	if s.Config.Direction == kafkaToKinesis {
		source, target = target, source
	}
	s.loop, err = loop(ctx, p.kafka, s.Config.Workflow, source, target)
	return err
}

func (s *survey) checkLoop(c *checks) {
	evidence := "no other workflow of this cluster brings records back to the source"
	if s.loop != "" {
		evidence = "what is written to the target comes back to the source by workflow " + s.loop
	}
	c.add("loop", s.loop != "", levelFail, evidence, fmt.Sprintf(loopFix, s.loop[strings.LastIndex(s.loop, " ")+1:]))
}
