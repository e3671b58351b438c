package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A Kinesis is a running server that speaks Kinesis and is not the module's own, for a few
// thousand records. Such servers accept any credentials and throttle nobody.
type Kinesis struct {
	// Name and Version are those of the package that it comes from.
	Name, Version string
	url           string
	cmd           *exec.Cmd
	ended         chan struct{}
}

// A KinesisStart starts one with its files in dir, and returns when it answers.
type KinesisStart func(ctx context.Context, dir string) (*Kinesis, error)

// start runs the command, which is to listen at addr, with its output in dir.
func (k *Kinesis) start(ctx context.Context, dir, addr string) (*Kinesis, error) {
	out, err := os.Create(filepath.Join(dir, k.Name+".out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	k.url, k.ended = "http://"+addr, make(chan struct{})
	k.cmd.Stdout, k.cmd.Stderr = out, out
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := k.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", k.Name, err)
	}
	go func() {
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	if err := awaitPort(ctx, k.Name, addr, out.Name(), k.ended); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// URL is its endpoint.
func (k *Kinesis) URL() string { return k.url }

// Close ends it.
func (k *Kinesis) Close() {
	_ = k.cmd.Process.Kill()
	<-k.ended
}

// loopback makes every listener of a node process one of the loopback interface, which
// the servers from npm have no setting for.
const loopback = `const net = require('net'), listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object') return listen.call(this, { ...first, host: '127.0.0.1' }, ...rest);
  return listen.call(this, { port: Number(first), host: '127.0.0.1' }, ...rest.filter((x) => typeof x === 'function'));
};
`

// onLoopback makes a command of node that listens on the loopback interface only.
func onLoopback(dir string, args ...string) (*exec.Cmd, error) {
	shim := filepath.Join(dir, "loopback.js")
	if err := os.WriteFile(shim, []byte(loopback), 0o644); err != nil {
		return nil, err
	}
	return exec.Command("node", append([]string{"-r", shim}, args...)...), nil
}

// fromNPM returns the folder of an npm package.
func fromNPM(ctx context.Context, name, version string) (string, error) {
	dir, err := cached(name+"-"+version, func(dir string) error {
		return output(exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", dir, name+"@"+version))
	}, "node", "npm")
	return filepath.Join(dir, "node_modules", name), err
}
