// Command bridge moves live streams between Amazon Kinesis and Kafka. Run `bridge help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	a := &app{stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv, signals: signals, adapters: realAdapters()}
	return a.run(context.Background(), os.Args[1:])
}
