package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A KafkaConfig says what cluster to start. The zero Config is one plaintext node.
type KafkaConfig struct {
	Dir   string // for logs and data; required
	Nodes int    // 1 or 3; 1 if zero
	// Secure adds a listener with TLS and SASL (PLAIN and SCRAM-SHA-512) for User.
	Secure bool
	// Certificate is what the secure listener shows; the good one if zero.
	Certificate Certificate
	HeapMB      int               // 384 if zero
	Properties  map[string]string // more settings of each broker
	Classes     string            // a folder of more classes, see Compile
	// Advertise is what clients are told to dial for each node, such as a proxy's address;
	// nil is the node's own. It is given the node's own address.
	Advertise func(node int, own string) string
}

// User and Password are those of the secure listener.
const (
	User     = "bridge"
	Password = "bridge-secret"
)

// A Kafka is a running cluster. Its methods are for one goroutine; only what its addresses
// are may be asked by several.
type Kafka struct {
	conf    KafkaConfig
	jars    string
	cluster string
	nodes   []*node
	certs   Certificates
}

type node struct {
	id                                  int
	dir                                 string
	plain, controller, secure, internal string
	cmd                                 *exec.Cmd
	ended                               chan struct{}
	mu                                  sync.Mutex
}

// startPatience bounds the start of a cluster.
const startPatience = 90 * time.Second

// StartKafka starts a cluster and returns when each node answers.
func StartKafka(ctx context.Context, c KafkaConfig) (*Kafka, error) {
	c.Nodes = max(c.Nodes, 1)
	if c.HeapMB == 0 {
		c.HeapMB = 384
	}
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, err
	}
	raw[0] &= 0x7f // the id is an argument, and may not begin with a dash
	k := &Kafka{conf: c, cluster: base64.RawURLEncoding.EncodeToString(raw[:])}
	var err error
	if k.jars, err = jars(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "log4j2.xml"), []byte(log4j), 0o644); err != nil {
		return nil, err
	}
	if c.Secure {
		if k.certs, err = makeCertificates(c.Dir, c.Certificate); err != nil {
			return nil, err
		}
	}
	if err := k.layOut(); err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	errs := make([]error, c.Nodes)
	for i := range k.nodes {
		group.Go(func() {
			if errs[i] = k.format(ctx, k.nodes[i]); errs[i] == nil {
				errs[i] = k.launch(k.nodes[i])
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		k.Close()
		return nil, err
	}
	for i := range k.nodes {
		if err := k.await(ctx, k.nodes[i]); err != nil {
			k.Close()
			return nil, err
		}
	}
	return k, nil
}

// layOut chooses ports and writes each node's properties.
func (k *Kafka) layOut() error {
	ports, err := freePorts(4 * k.conf.Nodes)
	if err != nil {
		return err
	}
	var voters []string
	for i := range k.conf.Nodes {
		n := &node{id: i + 1, dir: filepath.Join(k.conf.Dir, fmt.Sprint("node", i)), plain: ports[4*i], controller: ports[4*i+1], secure: ports[4*i+2], internal: ports[4*i+3]}
		k.nodes = append(k.nodes, n)
		voters = append(voters, fmt.Sprintf("%d@%s", n.id, n.controller))
	}
	for i, n := range k.nodes {
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return err
		}
		p := k.properties(i, n, strings.Join(voters, ","))
		var b bytes.Buffer
		for _, name := range slices.Sorted(maps.Keys(p)) {
			fmt.Fprintf(&b, "%s=%s\n", name, p[name])
		}
		if err := os.WriteFile(filepath.Join(n.dir, "server.properties"), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kafka) properties(i int, n *node, voters string) map[string]string {
	replicas, inSync := "1", "1"
	if k.conf.Nodes >= 3 {
		replicas, inSync = "3", "2"
	}
	told := n.plain
	if k.conf.Advertise != nil {
		told = k.conf.Advertise(i, n.plain)
	}
	p := map[string]string{
		"process.roles": "broker,controller", "node.id": fmt.Sprint(n.id), "controller.quorum.voters": voters,
		"controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "INTERNAL",
		"listener.security.protocol.map":   "INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
		"log.dirs":                         filepath.Join(n.dir, "data"),
		"offsets.topic.replication.factor": replicas, "offsets.topic.num.partitions": "2",
		"transaction.state.log.replication.factor": replicas, "transaction.state.log.min.isr": inSync, "transaction.state.log.num.partitions": "2",
		"share.coordinator.state.topic.replication.factor": replicas, "share.coordinator.state.topic.min.isr": inSync,
		// A node that was killed comes back as soon as the controller has given it up.
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
		"group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false",
		"default.replication.factor": replicas, "min.insync.replicas": inSync,
		// INTERNAL is what brokers use among themselves, so that a proxy sees clients only.
		"listeners":            fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s,INTERNAL://%s", n.plain, n.controller, n.internal),
		"advertised.listeners": fmt.Sprintf("PLAINTEXT://%s,INTERNAL://%s", told, n.internal),
	}
	if k.conf.Secure {
		p["listeners"] += ",SECURE://" + n.secure
		p["advertised.listeners"] += ",SECURE://" + n.secure
		maps.Copy(p, k.certs.properties())
	}
	maps.Copy(p, k.conf.Properties)
	return p
}

func (k *Kafka) java(args ...string) *exec.Cmd {
	base := []string{"-Xmx" + fmt.Sprint(k.conf.HeapMB) + "m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + filepath.Join(k.conf.Dir, "log4j2.xml"), "-cp", filepath.Join(k.jars, "*") + string(os.PathListSeparator) + k.conf.Classes}
	return exec.Command("java", append(base, args...)...)
}

func (k *Kafka) format(ctx context.Context, n *node) error {
	args := []string{"kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", k.cluster, "-c", filepath.Join(n.dir, "server.properties")}
	if k.conf.Secure {
		args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", User, Password))
	}
	c := k.java(args...)
	if out, err := c.CombinedOutput(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("format node %d: %w\n%s", n.id, err, out))
	}
	return nil
}

func (k *Kafka) launch(n *node) error {
	out, err := os.OpenFile(filepath.Join(n.dir, "kafka.out"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	c := k.java("kafka.Kafka", filepath.Join(n.dir, "server.properties"))
	c.Stdout, c.Stderr = out, out
	// A terminal's Ctrl-C, and signals to the test, are not for the brokers.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	ended := make(chan struct{})
	n.mu.Lock()
	n.cmd, n.ended = c, ended
	n.mu.Unlock()
	go func() {
		_ = c.Wait()
		close(ended)
	}()
	return nil
}

// await returns when the node says that it is up and takes connections.
func (k *Kafka) await(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	log := filepath.Join(n.dir, "kafka.out")
	for {
		b, _ := os.ReadFile(log)
		if bytes.Contains(b, []byte("Kafka Server started")) {
			if c, err := net.Dial("tcp", n.plain); err == nil {
				return c.Close()
			}
		}
		select {
		case <-tick.C:
		case <-n.ended:
			return fmt.Errorf("node %d ended while it started:\n%s", n.id, tail(b))
		case <-ctx.Done():
			return fmt.Errorf("node %d is not up: %w\n%s", n.id, ctx.Err(), tail(b))
		}
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-3000):] }

// Brokers are the plaintext addresses that clients are told.
func (k *Kafka) Brokers() []string {
	var out []string
	for i, n := range k.nodes {
		if k.conf.Advertise != nil {
			out = append(out, k.conf.Advertise(i, n.plain))
			continue
		}
		out = append(out, n.plain)
	}
	return out
}

// Internal are the addresses that brokers use among themselves. A client that dials them is
// never told those of Advertise.
func (k *Kafka) Internal() (out []string) {
	for _, n := range k.nodes {
		out = append(out, n.internal)
	}
	return out
}

// Secure is the address of the first node's secure listener.
func (k *Kafka) Secure() string { return k.nodes[0].secure }

// CAFile is the PEM file of the authority that signed the secure listener's certificate.
func (k *Kafka) CAFile() string { return k.certs.CA }

// OtherCAFile is that of an authority that did not.
func (k *Kafka) OtherCAFile() string { return k.certs.OtherCA }

// DataDir is where a node keeps its partitions.
func (k *Kafka) DataDir(i int) string { return filepath.Join(k.nodes[i].dir, "data") }

// Pid is the process of a node.
func (k *Kafka) Pid(i int) int { return k.nodes[i].cmd.Process.Pid }

// Kill ends a node at once and returns when it is gone.
func (k *Kafka) Kill(i int) { k.signal(i, syscall.SIGKILL) }

// Stop ends a node as an operator would and returns when it is gone.
func (k *Kafka) Stop(i int) { k.signal(i, syscall.SIGTERM) }

func (k *Kafka) signal(i int, s syscall.Signal) {
	n := k.nodes[i]
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(s)
	select {
	case <-n.ended:
	case <-time.After(30 * time.Second):
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
}

// Restart starts a node that was killed or stopped, on its old data.
func (k *Kafka) Restart(ctx context.Context, i int) error {
	if err := k.launch(k.nodes[i]); err != nil {
		return err
	}
	return k.await(ctx, k.nodes[i])
}

// Close ends all nodes.
func (k *Kafka) Close() {
	for i := range k.nodes {
		k.signal(i, syscall.SIGKILL)
	}
}
