package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// KinesisLocalVersion is what is started.
const KinesisLocalVersion = "0.6.2"

// loopback makes every listener of a node process one of the loopback interface, which
// kinesis-local has no setting for.
const loopback = `const net = require('net'), listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object') return listen.call(this, { ...first, host: '127.0.0.1' }, ...rest);
  return listen.call(this, { port: Number(first), host: '127.0.0.1' }, ...rest.filter((x) => typeof x === 'function'));
};
`

// kinesisLocal returns the folder of the npm package.
func kinesisLocal(ctx context.Context) (string, error) {
	dir, err := cached("kinesis-local-"+KinesisLocalVersion, func(dir string) error {
		npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", dir, "kinesis-local@"+KinesisLocalVersion)
		return output(npm)
	}, "node", "npm")
	return filepath.Join(dir, "node_modules", "kinesis-local"), err
}

// A KinesisLocal is a running kinesis-local: another server than the module's own, with
// streams, reshards and iterators, for a few thousand records. It accepts any credentials
// and throttles nobody.
type KinesisLocal struct {
	url   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// StartKinesisLocal starts one with its files in dir, and returns when it answers.
func StartKinesisLocal(ctx context.Context, dir string) (*KinesisLocal, error) {
	app, err := kinesisLocal(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	shim := filepath.Join(dir, "loopback.js")
	if err := os.WriteFile(shim, []byte(loopback), 0o644); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "kinesis-local.out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	k := &KinesisLocal{url: "http://" + ports[0], ended: make(chan struct{})}
	k.cmd = exec.Command("node", "-r", shim, "main.js")
	k.cmd.Dir = app // it reads a file beside it
	k.cmd.Env = append(os.Environ(), "SHARD_LIMIT=1000", "PERSIST_PATH="+dir,
		"KINESIS_MOCK_PLAIN_PORT="+portOf(ports[0]), "KINESIS_MOCK_TLS_PORT="+portOf(ports[1]))
	for _, change := range []string{"CREATE_STREAM", "DELETE_STREAM", "MERGE_SHARDS", "SPLIT_SHARD", "UPDATE_SHARD_COUNT", "UPDATE_STREAM_MODE"} {
		k.cmd.Env = append(k.cmd.Env, change+"_DURATION=50ms")
	}
	k.cmd.Stdout, k.cmd.Stderr = out, out
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := k.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start kinesis-local: %w", err)
	}
	go func() {
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	if err := awaitPort(ctx, "kinesis-local", ports[0], out.Name(), k.ended); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// URL is its endpoint.
func (k *KinesisLocal) URL() string { return k.url }

// Close ends it.
func (k *KinesisLocal) Close() {
	_ = k.cmd.Process.Kill()
	<-k.ended
}
