package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The versions of the Kinesis Client Library that applications of the tests use.
const (
	KCL1 = "1.15.3"
	KCL2 = "2.7.2"
	KCL3 = "3.5.1"
)

func kclJars(ctx context.Context, version string) (string, error) {
	if version == KCL1 { // of another group, and on another SDK
		return fromMaven(ctx, "kcl-"+version, [3]string{"com.amazonaws", "amazon-kinesis-client", version})
	}
	return fromMaven(ctx, "kcl-"+version+"-jaxb",
		[3]string{"software.amazon.kinesis", "amazon-kinesis-client", version},
		// A part of Java 8 that Java 11 no longer has, and without which the library throws at
		// what it only logs.
		[3]string{"javax.xml.bind", "jaxb-api", "2.3.1"},
		[3]string{"ch.qos.logback", "logback-classic", "1.3.14"})
}

// KCLCommand runs a Java program with the Kinesis Client Library.
func KCLCommand(ctx context.Context, version, program string, args ...string) (*exec.Cmd, error) {
	jars, err := kclJars(ctx, version)
	if err != nil {
		return nil, err
	}
	return java(ctx, jars, program, "-Xmx384m", args)
}

// KafkaCommand runs a Java program with Kafka's own client.
func KafkaCommand(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	dir, err := jars(ctx)
	if err != nil {
		return nil, err
	}
	return java(ctx, dir, program, "-Xmx256m", args)
}

// java runs a program of one source file, which is compiled once. It mostly waits, so that
// it is not worth while to make it fast.
func java(ctx context.Context, jars, program, memory string, args []string) (*exec.Cmd, error) {
	source, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(source, jars...))
	classes, err := cached("classes-"+hex.EncodeToString(sum[:6]), func(dir string) error {
		return output(exec.CommandContext(ctx, "javac", "-nowarn", "-cp", jars+"/*", "-d", dir, program))
	}, "java", "javac")
	if err != nil {
		return nil, err
	}
	class := strings.TrimSuffix(filepath.Base(program), ".java")
	return exec.CommandContext(ctx, "java", append([]string{memory, "-XX:TieredStopAtLevel=1", "-cp", classes + ":" + jars + "/*", class}, args...)...), nil
}
