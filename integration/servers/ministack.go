package servers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

const ministackVersion = "1.5.33"

// ministack returns a Python environment with the package in it.
func ministack(ctx context.Context) (string, error) {
	return cached("ministack-"+ministackVersion, func(dir string) error {
		if err := output(exec.CommandContext(ctx, "python3", "-m", "venv", dir)); err != nil {
			return err
		}
		return output(exec.CommandContext(ctx, filepath.Join(dir, "bin", "pip"), "install", "-q", "ministack=="+ministackVersion, "cbor2"))
	}, "python3")
}

// StartMinistack is a KinesisStart of ministack, which keeps everything in memory.
func StartMinistack(ctx context.Context, dir string) (*Kinesis, error) {
	env, err := ministack(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	port := portOf(ports[0])
	cmd := exec.Command(filepath.Join(env, "bin", "ministack"))
	cmd.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", "MINISTACK_HOST=127.0.0.1", "GATEWAY_PORT="+port, "EDGE_PORT="+port, "MINISTACK_PORT="+port,
		"STATE_DIR="+dir, "PERSIST_STATE=0", "IOT_MTLS_ENABLED=0", "TRANSFER_SFTP_ENABLED=0") // the last two would listen elsewhere, too
	return (&Kinesis{Name: "ministack", Version: ministackVersion, cmd: cmd}).start(ctx, dir, ports[0])
}
