package servers

import (
	"context"
	"os"
	"os/exec"
)

// The version of aws_kinesis_agg, the de-aggregator for Python, and what it needs.
const pythonAgg = "1.2.3"

func pythonPackages(ctx context.Context) (string, error) {
	return cached("aws-kinesis-agg-"+pythonAgg, func(dir string) error {
		return output(exec.CommandContext(ctx, "python3", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action", "ignore",
			"--target", dir, "aws_kinesis_agg=="+pythonAgg, "six==1.17.0", "protobuf==7.36.2"))
	}, "python3")
}

// PythonCommand runs a Python program with the de-aggregator aws_kinesis_agg.
func PythonCommand(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	dir, err := pythonPackages(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "python3", append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
	return cmd, nil
}
