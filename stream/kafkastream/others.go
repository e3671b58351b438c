package kafkastream

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Neighbour is a workflow whose checkpoints stand on the same cluster.
type Neighbour struct {
	Workflow       string
	Source, Target bridge.Identity
}

// Neighbours lists the other workflows of the cluster that saved a checkpoint which this
// principal can read. Their keys are not known, so what a checkpoint says is taken as it
// stands. Workflows that cannot be read are left out.
func Neighbours(ctx context.Context, c *Client, workflow string) ([]Neighbour, error) {
	var answer *sarama.MetadataResponse
	err := c.ask(ctx, func(b *sarama.Broker) (err error) {
		answer, err = b.GetMetadata(sarama.NewMetadataRequest(protocolVersion, nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []Neighbour
	for _, m := range answer.Topics {
		name, ours := strings.CutPrefix(m.Name, "bridge.")
		name, checkpoints := strings.CutSuffix(name, ".checkpoints")
		if !ours || !checkpoints || name == workflow || m.Err != sarama.ErrNoError {
			continue
		}
		n, err := neighbour(ctx, c, name, m.Name, len(m.Partitions))
		switch {
		case errors.Is(err, bridge.ErrDenied) || errors.Is(err, bridge.ErrMissing) || errors.Is(err, bridge.ErrGap):
		case err != nil:
			return nil, err
		case !n.Source.IsZero() && !n.Target.IsZero():
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b Neighbour) int { return strings.Compare(a.Workflow, b.Workflow) })
	return out, nil
}

// neighbour reads the ends that the last checkpoint of any task names.
func neighbour(ctx context.Context, c *Client, workflow, topic string, tasks int) (Neighbour, error) {
	n := Neighbour{Workflow: workflow}
	for task := range tasks {
		for rec, err := range readOwn(ctx, c, topic, task) {
			if err != nil {
				return n, err
			}
			if kindOf(string(rec.Key)) != "checkpoint" {
				continue
			}
			var e envelope
			var b struct {
				Source bridge.Identity `json:"source"`
				Target bridge.Identity `json:"target"`
			}
			if json.Unmarshal(rec.Value, &e) == nil && json.Unmarshal(e.Body, &b) == nil && !b.Source.IsZero() {
				n.Source, n.Target = b.Source, b.Target
			}
		}
	}
	return n, nil
}
