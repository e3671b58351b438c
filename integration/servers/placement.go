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
    for (String line; (line = in.readLine()) != null; )
      for (String partitions : args)
        out.println(BuiltInPartitioner.partitionForKey(Base64.getDecoder().decode(line), Integer.parseInt(partitions)));
    out.flush();
  }
}
`

// JavaPartitions asks Kafka's Java client where it would put each key, for each of the
// numbers of partitions: of the first key, then of the second and so on.
func JavaPartitions(ctx context.Context, keys []string, partitions []int) ([]int, error) {
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
	java := exec.CommandContext(ctx, "java", "-cp", filepath.Join(lib, "*"), file)
	for _, n := range partitions {
		java.Args = append(java.Args, strconv.Itoa(n))
	}
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
	if want := len(keys) * len(partitions); len(out) != want {
		return nil, fmt.Errorf("the Java client gave %d places, not %d", len(out), want)
	}
	return out, nil
}
