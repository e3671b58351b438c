package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// DynamoDBVersion is the version of DynamoDB Local that is started.
const DynamoDBVersion = "3.1.0"

// dynamoLoopback starts the server on the loopback interface, for which it has no setting.
const dynamoLoopback = `import java.lang.reflect.*;
public class Loopback {
  public static void main(String[] a) throws Exception {
    Class<?> runner = Class.forName("software.amazon.dynamodb.services.local.main.ServerRunner");
    Object s = runner.getMethod("createServerFromCommandLineArgs", String[].class).invoke(null, (Object) a);
    Field f = s.getClass().getDeclaredField("server");
    f.setAccessible(true);
    for (var c : ((org.eclipse.jetty.server.Server) f.get(s)).getConnectors())
      ((org.eclipse.jetty.server.ServerConnector) c).setHost("127.0.0.1");
    s.getClass().getMethod("start").invoke(s);
    s.getClass().getMethod("join").invoke(s);
  }
}
`

// fromMaven returns a folder with the jars of an artifact and all that it needs.
func fromMaven(ctx context.Context, name string, artifacts ...[3]string) (string, error) {
	return cached(name, func(dir string) error {
		pom := `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>`
		for _, a := range artifacts {
			pom += fmt.Sprintf("<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>", a[0], a[1], a[2])
		}
		file := filepath.Join(dir, "pom.xml")
		if err := os.WriteFile(file, []byte(pom+"</dependencies></project>\n"), 0o644); err != nil {
			return err
		}
		return output(exec.CommandContext(ctx, "mvn", "-B", "-q", "-f", file, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir))
	}, "java", "mvn")
}

func dynamoJars(ctx context.Context) (string, error) {
	return fromMaven(ctx, "dynamodb-"+DynamoDBVersion, [3]string{"software.amazon.dynamodb", "DynamoDBLocal", DynamoDBVersion})
}

// A DynamoDB is a running DynamoDB Local, in memory. It accepts any credentials.
type DynamoDB struct {
	url   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// StartDynamoDB starts one with its files in dir, and returns when it answers.
func StartDynamoDB(ctx context.Context, dir string) (*DynamoDB, error) {
	jars, err := dynamoJars(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	main := filepath.Join(dir, "Loopback.java")
	if err := os.WriteFile(main, []byte(dynamoLoopback), 0o644); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "dynamodb.out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	d := &DynamoDB{url: "http://" + ports[0], ended: make(chan struct{})}
	d.cmd = exec.Command("java", "-Xmx256m", "-Djava.library.path="+jars, "-cp", jars+"/*", main,
		"-port", portOf(ports[0]), "-inMemory", "-sharedDb", "-disableTelemetry")
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = dir, out, out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start DynamoDB Local: %w", err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	if err := awaitPort(ctx, "DynamoDB Local", ports[0], out.Name(), d.ended); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// URL is its endpoint.
func (d *DynamoDB) URL() string { return d.url }

// Close ends it.
func (d *DynamoDB) Close() {
	_ = d.cmd.Process.Kill()
	<-d.ended
}
