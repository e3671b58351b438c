package servers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// KafkaVersion is what is started.
const KafkaVersion = "4.4.0"

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + KafkaVersion + `</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.3</version></dependency>
</dependencies></project>
`

const log4j = `<Configuration><Appenders><Console name="C"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers></Configuration>
`

// jars returns the folder with Kafka's jars, fetching them if they are not there.
func jars(ctx context.Context) (string, error) {
	return cached("kafka-"+KafkaVersion, func(dir string) error {
		file := filepath.Join(dir, "pom.xml")
		if err := os.WriteFile(file, []byte(pom), 0o644); err != nil {
			return err
		}
		return output(exec.CommandContext(ctx, "mvn", "-B", "-q", "-f", file, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir))
	}, "java", "mvn")
}

// Compile compiles a Java class against Kafka's jars into a folder, which
// KafkaConfig.Classes takes.
func Compile(ctx context.Context, dir, name, source string) error {
	jars, err := jars(ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, name+".java")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		return err
	}
	return output(exec.CommandContext(ctx, "javac", "-cp", filepath.Join(jars, "*"), "-d", dir, file))
}
