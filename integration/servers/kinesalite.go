package servers

import (
	"context"
	"path/filepath"
)

const kinesaliteVersion = "3.3.3"

func kinesalite(ctx context.Context) (string, error) {
	return fromNPM(ctx, "kinesalite", kinesaliteVersion)
}

// StartKinesalite is a KinesisStart of kinesalite, which keeps everything in memory.
func StartKinesalite(ctx context.Context, dir string) (*Kinesis, error) {
	app, err := kinesalite(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	cmd, err := onLoopback(dir, filepath.Join(app, "cli.js"), "--port", portOf(ports[0]), "--shardLimit", "1000",
		"--createStreamMs", "50", "--deleteStreamMs", "50", "--updateStreamMs", "50")
	if err != nil {
		return nil, err
	}
	return (&Kinesis{Name: "kinesalite", Version: kinesaliteVersion, cmd: cmd}).start(ctx, dir, ports[0])
}
