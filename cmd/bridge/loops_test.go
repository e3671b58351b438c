package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// Of every small set of workflows it is told whether records would come back.
func TestLoopOf(t *testing.T) {
	id := func(name string) bridge.Identity { return bridge.Identity{Name: name, Incarnation: "1"} }
	others := func(edges ...string) (out []kafkastream.Neighbour) {
		for _, e := range edges {
			from, to, _ := strings.Cut(e, ">")
			out = append(out, kafkastream.Neighbour{Workflow: e, Source: id(from), Target: id(to)})
		}
		return out
	}
	for _, c := range []struct {
		others []kafkastream.Neighbour
		want   []string
	}{
		{nil, nil},
		{others("S>T"), nil},             // the same way twice
		{others("T>S"), []string{"T>S"}}, // and back
		{others("T>U", "U>V"), nil},      // on and on
		{others("X>S", "T>X2"), nil},     // ends in another stream
		{others("U>S", "T>U"), []string{"T>U", "U>S"}},
		{others("T>U", "U>T", "U>V", "V>S", "U>S"), []string{"T>U", "U>S"}},
		{others("T>U", "U>T"), nil}, // a loop of others, which is not this one's
	} {
		if got := loopOf(c.others, id("S"), id("T")); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.others, got, c.want)
		}
	}
	recreated := []kafkastream.Neighbour{{Workflow: "old", Source: id("T"), Target: bridge.Identity{Name: "S", Incarnation: "0"}}}
	if got := loopOf(recreated, id("S"), id("T")); got != nil {
		t.Errorf("by a stream that was deleted since: %v", got)
	}
}
