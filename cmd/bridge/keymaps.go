package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kinesis-msk-bridge/bridge/keymap"
)

// keymapText is the one-word form of a keymap that is given with parameters.
func keymapText(values map[string]string) (string, error) {
	takes := map[string]string{"field": "pointer", "table": "file"}[values["name"]]
	for name := range values {
		if name != "name" && (takes == "" || name != takes && name != "then") {
			return "", fmt.Errorf("%q takes no %s%s", values["name"], name, suggest(name, []string{"name", "pointer", "file", "then"}))
		}
	}
	switch {
	case values["name"] == "":
		return "", errors.New("has no name")
	case takes == "":
		return values["name"], nil
	case values[takes] == "":
		return "", fmt.Errorf("%q needs %s", values["name"], takes)
	}
	return values["name"] + "(" + values[takes] + "," + orMurmur(values["then"]) + ")", nil
}

func orMurmur(name string) string {
	if name == "" {
		return "murmur2"
	}
	return name
}

// strategy says where records go: in a topic of so many partitions, or in Kinesis.
func (l *loaded) strategy(partitions int) (keymap.Strategy, error) {
	if l.Direction == kafkaToKinesis {
		return keymap.PartitionKeys(l.NullKeys), nil
	}
	keys, err := parseKeymap(l.Keymap, partitions)
	if err == nil && l.Kinesis.WrittenBy == writtenByBridge {
		keys = keymap.Restored(keys)
	}
	return keys, err
}

// parseKeymap makes the strategy of a one-word form. A table is read from its file.
func parseKeymap(text string, partitions int) (keymap.Strategy, error) {
	name, inner, has := strings.Cut(text, "(")
	inner, closed := strings.CutSuffix(inner, ")")
	parameter, then := inner, "murmur2"
	if i := strings.LastIndex(inner, ","); i >= 0 {
		parameter, then = inner[:i], inner[i+1:]
	}
	takes := name == "field" || name == "table"
	if has != closed || takes != has || takes && parameter == "" {
		return nil, fmt.Errorf("keymap %q: want a word such as murmur2, field(POINTER,THEN) or table(FILE,THEN)", text)
	}
	switch name {
	case "shard":
		return keymap.Shard(partitions)
	case "field", "table":
	default:
		return keymap.New(name, partitions)
	}
	other, err := keymap.New(then, partitions)
	if name == "table" && then == "none" {
		other, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if name == "field" {
		return keymap.Field(parameter, other)
	}
	file, err := os.Open(parameter)
	if err != nil {
		return nil, fmt.Errorf("keymap table: %w", err)
	}
	defer file.Close()
	return keymap.Table(file, partitions, other)
}
