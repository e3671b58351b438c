package lint

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// everything of this module may be imported by what ties it together.
const everything = "*"

// mayImport says which packages of this module a package may import, "." being the root
// package. Engines never see an adapter, adapters never an engine or each other.
var mayImport = map[string][]string{
	".":      {},
	"keymap": {"."},
	"kpl":    {"."},
	// The formats of Kinesis records.
	"envelope": {"."},

	"mirror":    {".", "keymap", "kpl", "internal/clock"},
	"verify":    {".", "keymap", "kpl", "internal/clock"},
	"dualwrite": {".", "keymap", "kpl"},
	"positions": {".", "keymap", "kpl"},
	// The half of positions that reaches for DynamoDB, and what consumers import.
	"positions/leasetable": {".", "positions", "internal/dynamo"},
	"positions/filter":     {"."},
	"cutover":              {".", "keymap", "kpl", "verify", "positions", "dualwrite", "state"},
	"advisor":              {".", "keymap", "kpl"},
	"report":               {".", "verify"},
	"metrics":              {".", "mirror", "verify", "dualwrite", "cutover"},

	"stream/kinesisstream": {".", "kpl", "envelope", "internal/awsapi", "internal/clock"},
	"stream/kafkastream":   {".", "internal/awsapi"},
	"stream/memstream":     {"."},
	"stream/kinesistest":   {}, // people import it by itself
	// Places of dead letters that are no streams.
	"deadletter":           {"."},
	"deadletter/s3letters": {".", "internal/awsapi"},
	"state":                {"."},
	"state/filestate":      {".", "state"},
	"state/dynamostate":    {".", "state", "internal/dynamo"},
	"state/statetest":      {".", "state"},
	"bridgetest":           {"."},

	// The witnesses share nothing with what they judge.
	"integration/checker":       {},
	"integration/proxy":         {},
	"integration/servers":       {},
	"integration/servers/fetch": {"integration/servers"},

	// Files for other programs; its tests hold them against what is exported.
	"deploy": {},

	// What engines and adapters know of a service's clock.
	"internal/clock": {},

	// What adapters of AWS services share.
	"internal/awsapi":      {"."},
	"internal/dynamo":      {".", "internal/awsapi"},
	"internal/dynamotest":  {},
	"internal/flights":     {},
	"internal/flights/gen": {},
	"internal/fuzzall":     {},
	"internal/memtest":     {},
	"internal/mutants":     {},
	"internal/lint":        {},

	// What earlier versions left behind, on servers.
	"internal/golden":        {"stream/kinesistest", "internal/dynamotest"},
	"internal/golden/record": {"internal/golden", "stream/kinesistest"},

	"internal/walk":  {}, // its tests put everything together
	"internal/bench": {everything},
	"integration":    {everything},
	"cmd/bridge":     {everything},
}

// homes are the only packages whose code may import a library, tests aside.
var homes = []struct {
	library string
	home    []string
}{
	{"github.com/aws/aws-sdk-go-v2/service/kinesis", []string{"stream/kinesisstream", "internal/bench"}},
	{"github.com/aws/aws-sdk-go-v2/service/dynamodb", []string{"positions/leasetable", "state/dynamostate", "internal/dynamo"}},
	{"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue", []string{"positions/leasetable", "state/dynamostate"}},
	{"github.com/aws/aws-sdk-go-v2/service/s3", []string{"deadletter/s3letters"}},
	{"github.com/IBM/sarama", []string{"stream/kafkastream", "internal/bench"}},
	{"github.com/urfave/cli", []string{"cmd/bridge"}},
	{"github.com/hashicorp/go-multierror", []string{"cmd/bridge", "dualwrite", "cutover"}},
	{"github.com/prometheus/client_golang", []string{"metrics"}},
	{"github.com/prometheus/prometheus", nil},
	{"github.com/twmb/franz-go", []string{"integration/checker"}},
	{"github.com/rogpeppe/go-internal", nil},
	{"go.uber.org/goleak", nil},
	{"pgregory.net/rapid", nil},
	{"github.com/stretchr/testify", nil},
}

// kfakeFile reports whether a file may use the in-process broker, a test or not: the demo,
// the benchmark and the recordings do.
func kfakeFile(s *source) bool {
	return s.pkg == "cmd/bridge" && (strings.HasPrefix(s.path, "cmd/bridge/demo") || strings.HasPrefix(s.path, "cmd/bridge/bench")) ||
		s.pkg == "internal/bench" || strings.HasPrefix(s.pkg, "internal/golden")
}

func TestWhoImportsWhom(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := mayImport[s.pkg]
		if !known {
			t.Errorf("%s: package %s is new: say in mayImport what it may import", s.path, s.pkg)
			continue
		}
		for _, i := range s.file.Imports {
			target, _ := strconv.Unquote(i.Path.Value)
			if own, ok := ownPackage(target); ok {
				// Tests may put an engine and an adapter together; the checker's may not.
				free := s.test && s.pkg != "integration/checker" || own == s.pkg
				if !free && !slices.Contains(allowed, own) && !slices.Contains(allowed, everything) {
					t.Errorf("%s: %s may not import %s", s.at(i), s.pkg, own)
				}
				continue
			}
			checkLibrary(t, s, i.Path.Value, target)
		}
	}
}

func ownPackage(target string) (string, bool) {
	if target == module {
		return ".", true
	}
	return strings.CutPrefix(target, module+"/")
}

func checkLibrary(t *testing.T, s *source, quoted, target string) {
	t.Helper()
	std := !strings.Contains(strings.Split(target, "/")[0], ".")
	if s.pkg == "." && !s.test && !std {
		t.Errorf("%s: the root package imports the standard library only, not %s", s.path, quoted)
	}
	if s.test && target != "github.com/stretchr/testify" || s.pkg == "integration" {
		return
	}
	for _, h := range homes {
		if target != h.library && !strings.HasPrefix(target, h.library+"/") {
			continue
		}
		if !slices.Contains(h.home, s.pkg) && !(h.library == "github.com/twmb/franz-go" && kfakeFile(s)) {
			t.Errorf("%s: %s is at home in %v", s.path, quoted, h.home)
		}
	}
}
