package servers

import (
	"context"
	"os/exec"
)

// The versions of the Kinesis Client Library that applications of the tests use.
const (
	KCL2 = "2.7.2"
	KCL3 = "3.5.1"
)

func kclJars(ctx context.Context, version string) (string, error) {
	return fromMaven(ctx, "kcl-"+version,
		[3]string{"software.amazon.kinesis", "amazon-kinesis-client", version},
		[3]string{"ch.qos.logback", "logback-classic", "1.3.14"})
}

// KCLCommand runs a Java program with the Kinesis Client Library.
func KCLCommand(ctx context.Context, version, program string, args ...string) (*exec.Cmd, error) {
	jars, err := kclJars(ctx, version)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, "java", append([]string{"-Xmx384m", "-cp", jars + "/*", program}, args...)...), nil
}

// KafkaCommand runs a Java program with Kafka's own client.
func KafkaCommand(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	dir, err := jars(ctx)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, "java", append([]string{"-Xmx256m", "-cp", dir + "/*", program}, args...)...), nil
}
