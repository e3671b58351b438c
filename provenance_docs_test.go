package bridge_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
)

const headerPage = "docs/adr/0001-header.md"

func readHeaderPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(headerPage)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range golden {
		if !bytes.Contains(page, []byte("`"+h+"`")) {
			t.Errorf("%s does not show the golden bytes of %s", headerPage, name)
		}
	}
	return string(page)
}

// The sizes that the page names are measured here.
func TestHeaderSize(t *testing.T) {
	page := readHeaderPage(t)
	rec := stamped("shardId-000000000012", "49590338271490256608559692538361571095921575989136588898", 0, 1)
	header := testStamp().Append(nil, rec)
	// In a record batch: lengths of name and value, the name, the value.
	more := uvarintSize(2*len(bridge.ProvenanceHeader)) + len(bridge.ProvenanceHeader) + uvarintSize(2*len(header)) + len(header)
	t.Logf("header %d bytes, %d in a record", len(header), more)
	want := []string{fmt.Sprintf("%d bytes, in a Kafka record batch %d", len(header), more)}
	for _, size := range []int{100, 1024} {
		plain := recordSize(len(rec.Key), size, 0)
		stamped := recordSize(len(rec.Key), size, more)
		t.Logf("value of %d bytes: record of %d bytes, with the header %d", size, plain, stamped)
		want = append(want, fmt.Sprintf("from %d to %d", plain, stamped))
	}
	for _, figure := range want {
		if !strings.Contains(strings.Join(strings.Fields(page), " "), figure) {
			t.Errorf("%s does not say %q", headerPage, figure)
		}
	}
}

// recordSize is how many bytes a record takes in a batch of version 2, with small deltas.
func recordSize(key, value, headers int) int {
	n := 1 + 1 + 1 + uvarintSize(2*key) + key + uvarintSize(2*value) + value + 1 + headers
	return uvarintSize(2*n) + n
}

func uvarintSize(n int) int {
	size := 1
	for ; n > 127; n >>= 7 {
		size++
	}
	return size
}

// The lines that the page gives away decode the golden bytes as this package does. Each
// language is tried if it is installed; the log says which was.
func TestHeaderInPythonAndJava(t *testing.T) {
	page := readHeaderPage(t)
	var headers, want []string
	for _, h := range golden {
		headers = append(headers, h)
	}
	slices.Sort(headers)
	for _, h := range headers {
		want = append(want, spelled(t, h))
	}
	for _, c := range []struct {
		language, file, before, after string
		command                       []string
	}{
		{"python", "decode.py", "", "\nimport sys\nfor h in sys.argv[1:]: print(*decode(bytes.fromhex(h)))\n", []string{"python3"}},
		{"java", "Decode.java", "class Decode {\n", "public static void main(String[] a) { for (String h : a) System.out.println(decode(java.util.HexFormat.of().parseHex(h))); }\n}\n", []string{"java"}},
	} {
		m := regexp.MustCompile("(?s)```" + c.language + "\n(.*?)```").FindStringSubmatch(page)
		if m == nil || strings.Count(m[1], "\n") != 10 {
			t.Errorf("%s has no ten lines of %s", headerPage, c.language)
			continue
		}
		program, err := exec.LookPath(c.command[0])
		if err != nil {
			t.Logf("NOT RUN: %s is not installed here, its ten lines were not tried", c.language)
			continue
		}
		file := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(file, []byte(c.before+m[1]+c.after), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, append([]string{file}, headers...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.language, err, out)
			continue
		}
		if got := strings.TrimSpace(string(out)); got != strings.Join(want, "\n") {
			t.Errorf("%s decodes\n%s\nwant\n%s", c.language, got, strings.Join(want, "\n"))
		}
		t.Logf("%s decodes %d headers", c.language, len(headers))
	}
}

func spelled(t *testing.T, header string) string {
	t.Helper()
	b, err := hex.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	p, err := bridge.DecodeProvenance(b)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%08x %d %08x %s %s %d %d %d %016x", p.Workflow, p.Epoch, p.Source, p.Partition, p.Position.Seq, p.Position.Sub, p.Subs, p.Time.UnixMilli(), p.Tag)
}
