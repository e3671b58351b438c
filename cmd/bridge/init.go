package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"
)

func (a *app) initCommand() *cli.Command {
	return command(cli.Command{
		Name:  "init",
		Usage: "write a configuration to begin with",
		Description: `Writes bridge.yaml, or the file of --config, with every setting that must be decided and a
line on each. It reaches for nothing and replaces no file.

Examples:
   bridge init
   bridge init --to kinesis --config back.yaml`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "to", Value: "kafka", Usage: "where records go: kafka or kinesis"}},
	}, a.writeFirst)
}

// writeFirst writes a configuration where there is none.
func (a *app) writeFirst(c *cli.Context) error {
	text, ok := map[string]string{"kafka": initToKafka, "kinesis": initToKinesis}[c.String("to")]
	if !ok {
		return usage(fmt.Errorf("--to %q is not kafka or kinesis", c.String("to")))
	}
	name := c.String(flagConfig)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usageHint(fmt.Errorf("%s exists already", name), "give another name with --config, or remove it")
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if _, err = io.WriteString(f, text); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	a.answer = &answer{
		result: map[string]string{"file": name},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "wrote %s; fill it in, then: bridge config validate, bridge preflight, bridge plan\n", name)
			return err
		},
		nextSteps: []string{"bridge config validate", "bridge preflight", "bridge plan"},
	}
	return nil
}

const initHead = `# Each setting and its default: bridge config show --origin
workflow: orders                     # names this migration; its own topics begin with it
`

const initToKafka = initHead + `direction: kinesis-to-kafka
kinesis:
  stream: orders                     # or stream_arn
  region: us-east-1
kafka:
  brokers: ["127.0.0.1:9092"]        # or msk_cluster_arn, or client_properties: client.properties
  topic: orders                      # is created if it is missing
  partitions: 12                     # what its producers will see; it cannot change later
  replication_factor: 3
keymap: murmur2                      # as the producers that come after will place keys: murmur2 (Java), crc32 (librdkafka), fnv1a (sarama)
start: trim-horizon                  # or latest, or a time such as 2026-01-31T00:00:00Z
state: "file:.bridge"
`

const initToKinesis = initHead + `direction: kafka-to-kinesis
kinesis:
  stream: orders                     # is created if it is missing
  region: us-east-1
  format: raw                        # or kpl (consumers built on the KCL), envelope (carries everything)
  create: {mode: on-demand}          # or {mode: provisioned, shards: 8}
kafka:
  brokers: ["127.0.0.1:9092"]        # or msk_cluster_arn, or client_properties: client.properties
  topic: orders
  replication_factor: 3              # of the workflow's own topics
accept_loss: [timestamp]             # raw: Kinesis sets the time itself; add headers or tombstones if they may go
null_keys: spread                    # or partition-order
start: earliest                      # or latest, or a time such as 2026-01-31T00:00:00Z
state: "file:.bridge"
`
