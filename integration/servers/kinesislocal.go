package servers

import (
	"context"
	"net"
	"os"
)

const kinesisLocalVersion = "0.6.2"

func kinesisLocal(ctx context.Context) (string, error) {
	return fromNPM(ctx, "kinesis-local", kinesisLocalVersion)
}

// StartKinesisLocal is a KinesisStart of kinesis-local: streams, reshards and iterators
// like the service's, but slow.
func StartKinesisLocal(ctx context.Context, dir string) (*Kinesis, error) {
	app, err := kinesisLocal(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	cmd, err := onLoopback(dir, "main.js")
	if err != nil {
		return nil, err
	}
	cmd.Dir = app // it reads a file beside it
	cmd.Env = append(os.Environ(), "SHARD_LIMIT=1000", "PERSIST_PATH="+dir,
		"KINESIS_MOCK_PLAIN_PORT="+portOf(ports[0]), "KINESIS_MOCK_TLS_PORT="+portOf(ports[1]))
	for _, change := range []string{"CREATE_STREAM", "DELETE_STREAM", "MERGE_SHARDS", "SPLIT_SHARD", "UPDATE_SHARD_COUNT", "UPDATE_STREAM_MODE"} {
		cmd.Env = append(cmd.Env, change+"_DURATION=50ms")
	}
	return (&Kinesis{Name: "kinesis-local", Version: kinesisLocalVersion, cmd: cmd}).start(ctx, dir, ports[0])
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
