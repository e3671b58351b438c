package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// MirrorMakerVersion is that of the MirrorMaker 2 that is started.
const MirrorMakerVersion = "4.3.1"

func mirrorMakerJars(ctx context.Context) (string, error) {
	return fromMaven(ctx, "mirrormaker-"+MirrorMakerVersion,
		[3]string{"org.apache.kafka", "connect-runtime", MirrorMakerVersion},
		[3]string{"org.apache.kafka", "connect-mirror", MirrorMakerVersion},
		[3]string{"org.apache.kafka", "connect-json", MirrorMakerVersion},
		[3]string{"org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.3"})
}

// A MirrorMaker is Kafka's own connect-mirror-maker, in its dedicated mode.
type MirrorMaker struct {
	cmd   *exec.Cmd
	ended chan struct{}
	log   string
}

// StartMirrorMaker mirrors a topic from one cluster to another, where it is called
// "src." and its name. It returns at once; Close ends it. Its files are put into dir.
func StartMirrorMaker(ctx context.Context, dir string, from, to []string, topic string) (*MirrorMaker, error) {
	jars, err := mirrorMakerJars(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	properties := fmt.Sprintf(`clusters = src, dst
src.bootstrap.servers = %s
dst.bootstrap.servers = %s
src->dst.enabled = true
src->dst.topics = %s
dst->src.enabled = false
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
emit.checkpoints.enabled = false
emit.heartbeats.enabled = false
sync.topic.acls.enabled = false
offset.storage.partitions = 1
status.storage.partitions = 1
dedicated.mode.enable.internal.rest = false
`, strings.Join(from, ","), strings.Join(to, ","), topic)
	file, logging := filepath.Join(dir, "mm2.properties"), filepath.Join(dir, "log4j2.xml")
	if err := os.WriteFile(file, []byte(properties), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(logging, []byte(log4j), 0o644); err != nil {
		return nil, err
	}
	m := &MirrorMaker{ended: make(chan struct{}), log: filepath.Join(dir, "mm2.out")}
	out, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	m.cmd = exec.Command("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile="+logging,
		"-cp", filepath.Join(jars, "*"), "org.apache.kafka.connect.mirror.MirrorMaker", file)
	m.cmd.Stdout, m.cmd.Stderr = out, out
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start MirrorMaker: %w", err)
	}
	go func() {
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	return m, nil
}

// Log is the end of what it has said.
func (m *MirrorMaker) Log() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(tail(b))
}

// Close ends it and returns when it is gone.
func (m *MirrorMaker) Close() {
	_ = m.cmd.Process.Kill()
	<-m.ended
}
