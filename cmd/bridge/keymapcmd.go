package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

func (a *app) keymapCommand() *cli.Command {
	return group("keymap", "see where keys go",
		command(cli.Command{
			Name:      "explain",
			Usage:     "say where a key goes on both sides, and why",
			ArgsUsage: "KEY",
			Description: `Prints the partition key, its hash key and bucket in Kinesis, and the partition of the
topic under the workflow's keymap and under those of other producers: if yours is among
them and the answer is another one, the keymap is wrong. It connects to nothing.

Examples:
   bridge keymap explain N14228
   bridge keymap explain --hex fffe
   bridge keymap explain N14228 --value '{"tailnum":"N14228"}'`,
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "hex", Usage: "KEY is hexadecimal, for keys that are not text"},
				&cli.StringFlag{Name: "value", Usage: "the record's value, for keymap field"},
				&cli.StringFlag{Name: "shard", Usage: "the record's shard, for keymap shard"},
			},
		}, a.keymapExplain),
		command(cli.Command{
			Name:  "vectors",
			Usage: "print where some keys go under every keymap, to test producers with",
			Description: `Prints a table of keys and the partition of each under every keymap that hashes keys,
for the number of partitions of the workflow's topic or of --partitions.

Examples:
   bridge keymap vectors --partitions 12 --output json`,
			Flags: []cli.Flag{&cli.IntFlag{Name: "partitions", Usage: "number of partitions, instead of the configuration's"}},
		}, a.keymapVectors),
	)
}

// A placement is where one strategy puts a key.
type placement struct {
	Keymap    string `json:"keymap"`
	Partition string `json:"partition,omitempty"`
	Refused   string `json:"refused,omitempty"`
	Chosen    bool   `json:"chosen,omitempty"` // by the configuration
}

// An explanation is what keymap explain says.
type explanation struct {
	Key          string      `json:"key"` // hexadecimal if it is not text
	PartitionKey string      `json:"partition_key"`
	HashKey      string      `json:"hash_key"`
	Bucket       int         `json:"bucket"`
	Placements   []placement `json:"placements,omitempty"`
}

func (a *app) keymapExplain(c *cli.Context) error {
	key := []byte(c.Args().First())
	if c.Bool("hex") {
		var err error
		if key, err = hex.DecodeString(c.Args().First()); err != nil {
			return usage(fmt.Errorf("KEY is not hexadecimal: %w", err))
		}
	}
	l, err := a.load(c)
	if err != nil {
		return err
	}
	rec := bridge.Record{Key: key, Value: []byte(c.String("value")), Partition: c.String("shard")}
	e, err := l.explain(&rec)
	if err != nil {
		return err
	}
	a.answer = &answer{result: e, text: e.write}
	return nil
}

func (l *loaded) explain(rec *bridge.Record) (explanation, error) {
	e := explanation{Key: string(rec.Key)}
	if !utf8.Valid(rec.Key) {
		e.Key = hex.EncodeToString(rec.Key)
	}
	route, err := keymap.PartitionKeys(l.NullKeys).Route(rec)
	if err != nil {
		return e, fmt.Errorf("the key cannot stand in Kinesis: %w", err)
	}
	e.PartitionKey = string(route.Key)
	e.HashKey = kpl.KeyHash(route.Key).String()
	e.Bucket = int(keymap.Bucket(route.Key, 0))
	n := l.Kafka.Partitions
	if n == 0 {
		return e, nil
	}
	names := keymap.Names()
	if l.Direction == kinesisToKafka {
		names = append([]string{l.Keymap}, names...)
	}
	for i, name := range names {
		if i > 0 && name == names[0] {
			continue
		}
		s, err := parseKeymap(name, n)
		if err != nil {
			return e, err
		}
		p := placement{Keymap: s.Name(), Chosen: i == 0 && l.Direction == kinesisToKafka}
		route, err := s.Route(rec)
		if p.Partition = route.Partition; err != nil {
			p.Refused = err.Error()
		}
		e.Placements = append(e.Placements, p)
	}
	return e, nil
}

func (e explanation) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "key            %s\npartition key  %s\nhash key       %s (MD5 of the partition key)\nbucket         %d of 256\n",
		clean(e.Key), clean(e.PartitionKey), e.HashKey, e.Bucket)
	for _, p := range e.Placements {
		where, chosen := "partition "+p.Partition, ""
		if p.Refused != "" {
			where = "refused: " + clean(p.Refused)
		}
		if p.Chosen {
			chosen = "  <- this workflow"
		}
		if err == nil {
			_, err = fmt.Fprintf(w, "%-14s %s%s\n", p.Keymap, where, chosen)
		}
	}
	if err == nil && len(e.Placements) == 0 {
		_, err = fmt.Fprintln(w, "set kafka.partitions to see where the key goes in the topic")
	}
	return err
}

// vectorKeys are short, long, empty, binary and beyond ASCII.
var vectorKeys = [...]string{"", "a", "key", "N14228", "customer-42", "é", "🙂", "\x00", "\xff\xfe", "0123456789abcdef0123456789abcdef0"}

// A vector is where one key goes under each strategy.
type vector struct {
	KeyHex     string            `json:"key_hex"`
	Partitions map[string]string `json:"partitions"` // by name of the keymap
}

func (a *app) keymapVectors(c *cli.Context) error {
	n := c.Int("partitions")
	if !c.IsSet("partitions") {
		l, err := a.load(c)
		if err != nil {
			return err
		}
		n = l.Kafka.Partitions
	}
	if n < 1 {
		return usage(fmt.Errorf("%d partitions: give --partitions, or set kafka.partitions", n))
	}
	var out []vector
	for _, key := range vectorKeys {
		v := vector{hex.EncodeToString([]byte(key)), map[string]string{}}
		for _, name := range keymap.Names() {
			s, err := keymap.New(name, n)
			if err != nil {
				return usage(err)
			}
			route, err := s.Route(&bridge.Record{Key: []byte(key)})
			if err != nil {
				return err
			}
			v.Partitions[name] = route.Partition
		}
		out = append(out, v)
	}
	a.answer = &answer{result: map[string]any{"partitions": n, "vectors": out}, text: func(w io.Writer) error { return writeVectors(w, out) }}
	return nil
}

func writeVectors(w io.Writer, vectors []vector) error {
	_, err := fmt.Fprintf(w, "%-68s", "key (hexadecimal)")
	for _, name := range keymap.Names() {
		if err == nil {
			_, err = fmt.Fprintf(w, " %10s", name)
		}
	}
	for _, v := range vectors {
		if err == nil {
			_, err = fmt.Fprintf(w, "\n%-68s", v.KeyHex)
		}
		for _, name := range keymap.Names() {
			if err == nil {
				_, err = fmt.Fprintf(w, " %10s", v.Partitions[name])
			}
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
