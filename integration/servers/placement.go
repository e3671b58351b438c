package servers

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const placement = `import java.io.*;
import java.util.Base64;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

class Placement {
  public static void main(String[] args) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in));
    var out = new PrintWriter(new BufferedOutputStream(System.out));
    int partitions = Integer.parseInt(args[0]);
    for (String line; (line = in.readLine()) != null; )
      out.println(BuiltInPartitioner.partitionForKey(Base64.getDecoder().decode(line), partitions));
    out.flush();
  }
}
`

// JavaPartitions asks Kafka's Java client where it would put each key.
func JavaPartitions(ctx context.Context, keys []string, partitions int) ([]int, error) {
	lib, err := jars(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "placement-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "Placement.java")
	if err := os.WriteFile(file, []byte(placement), 0o644); err != nil {
		return nil, err
	}
	var in, said bytes.Buffer
	for _, k := range keys {
		in.WriteString(base64.StdEncoding.EncodeToString([]byte(k)) + "\n")
	}
	java := exec.CommandContext(ctx, "java", "-cp", filepath.Join(lib, "*"), file, strconv.Itoa(partitions))
	java.Stdin, java.Stderr = &in, &said
	text, err := java.Output()
	if err != nil {
		return nil, fmt.Errorf("run the Java client's partitioner: %w\n%s", err, tail(said.Bytes()))
	}
	var out []int
	for _, line := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(line)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	if len(out) != len(keys) {
		return nil, fmt.Errorf("the Java client placed %d of %d keys", len(out), len(keys))
	}
	return out, nil
}
