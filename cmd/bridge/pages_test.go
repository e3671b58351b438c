package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// What the pages for operators say is done here: every line of every sh block of the
// runbooks and of the README is typed, in its order, against servers in the state that the
// page's "given" names; a "check" must hold where it stands, and the page's "then" behind
// all. A line may end in a remark:
//
//	bridge mirror run --config orders.yaml # until stopped
//	bridge mirror run --config orders.yaml # exit 8
//
// The first one runs until it follows the stream and is then told to stop.

// givens are the states of the world that pages begin in.
var givens = map[string]string{
	"stream with records, no topic": stream,
	"mirrored":                      stream + mirrored,
	"mirrored, then a shard split and expired unread": stream + mirrored +
		"kinesis split orders shardId-000000000000\nkinesis put orders 60 80\nkinesis wait 240\n",
	"mirrored, and its consumer stopped":           stream + mirrored + stopped,
	"mirrored, and its consumer moved":             stream + mirrored + stopped + moved,
	"mirrored, and the topic written to by others": stream + carried + "kafka put orders 200 203\n",
	"mirrored, and the topic trimmed":              stream + carried + "kafka trim orders 0 3\n",
	"topic with a tombstone": `kinesis start
kafka start
env BRIDGE_KAFKA_BROKERS=$KAFKA
kafka create orders 2
kafka put orders 0 20
kafka tombstone orders key7
kafka put orders 20 30
`,
	"nothing": "",
}

const (
	// stopped is an application on the KCL that has consumed a part of each shard.
	stopped = `dynamo start
env BRIDGE_DYNAMODB_ENDPOINT_URL=$DYNAMO
env BRIDGE_STILL_FOR=1s
dynamo create billing-app
dynamo consumed billing-app orders shardId-000000000000 10
dynamo consumed billing-app orders shardId-000000000001 5
exec bridge mirror run --until-caught-up --config orders.yaml
`
	moved = `exec bridge offsets plan --output json --config orders.yaml
hash
exec bridge offsets apply --plan $PLAN --config orders.yaml
`
)

const (
	stream = `kinesis start
kinesis create orders 2
kinesis retention orders 168
kinesis put orders 0 40
kafka start
env BRIDGE_KINESIS_ENDPOINT_URL=$KINESIS
env BRIDGE_KAFKA_BROKERS=$KAFKA
`
	carried  = "exec bridge mirror run --until-caught-up --config orders.yaml\n"
	mirrored = `exec bridge mirror run --until-caught-up --config orders.yaml
kinesis put orders 40 60
`
)

// thens are what must hold behind a page.
var thens = map[string]string{
	"every record is on the topic": "kafka holds orders %d\nexec bridge status --config orders.yaml --output json\njsonpath result.counts.read %[1]d\njsonpath result.balanced true\n",
	"nothing more was written":     "kafka holds orders 40\n",
	"the group is as it was":       "group committed billing orders\ncode 2 bridge offsets apply --plan $PLAN --config orders.yaml\n",
	"the lease table is as it was": "dynamo leases billing-app 2\ndynamo lease billing-app shardId-000000000000 record orders 9 0\n",
	"nothing":                      "",
}

// inBetween is what must hold in the middle of a page, behind the lines that stand before them.
var inBetween = map[string]string{
	"the group is set":                     "exec bridge offsets apply --plan $PLAN --config orders.yaml\ngroup stands billing orders 12\n",
	"the report says it in all four forms": reportSays,
	"the lease table is set":               "dynamo leases billing-app 2\ndynamo lease billing-app shardId-000000000000 record orders 10 -1\n",
}

// reportSays looks for what the page on reports promises of each form.
var reportSays = func() string {
	var b strings.Builder
	for form, texts := range map[string][]string{
		"json": {`"verdict": "consistent"`, `"scope": `, `"fence": .*"taken_at":`, `"coverage": .*"percent":100`, `"totals": .*"balance":`, `"gates": `, `"name":"scope"`, `"dead_letters": `},
		"txt":  prints, "md": prints, "html": prints,
	} {
		for _, text := range texts {
			fmt.Fprintf(&b, "grep '%s' report/orders.%s\n", text, form)
		}
	}
	return b.String()
}()

// prints is what every form for people shows.
var prints = []string{
	"CONSISTENT", "scope", "nothing beyond", "fence", "taken ", "coverage", "counts", "gates", " hold", "Ranges that were not judged",
	"Gates and waivers", "stragglers", "limit", "dead letters", "accepted losses",
}

// until is typed for a line that runs until it is stopped.
const until = `! exec %s &run&
waitfor .bridge/orders.state '"doing":"tailing"'
signal TERM
wait run
ended 143
`

var (
	comment = regexp.MustCompile(`(?m)^<!-- (given|then): (.*) -->$`)
	midway  = regexp.MustCompile(`^<!-- check: (.*) -->$`)
	step    = regexp.MustCompile("(?ms)^```(sh|yaml)\n(.*?)^```$|^<!-- check: [^\n]* -->$")
	block   = regexp.MustCompile("(?ms)^```(sh|yaml)\n(.*?)^```$")
	named   = regexp.MustCompile(`^# (\S+\.yaml)\n`)
	remark  = regexp.MustCompile(` # (until stopped|exit \d+)$`)
)

func TestPages(t *testing.T) {
	pages, err := filepath.Glob("../../runbooks/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("there are %d runbooks: %v", len(pages), err)
	}
	config := configOf(t, "../../runbooks/first-start.md")
	dir := t.TempDir()
	commands := 0
	for _, page := range append(pages, "../../README.md") {
		story, n := storyOfPage(t, page, config)
		commands += n
		name := strings.ToLower(strings.TrimSuffix(filepath.Base(page), ".md")) + ".txtar"
		if filepath.Base(page) == "README.md" {
			name = filepath.Base(filepath.Dir(page)) + "-" + name
		}
		if err := os.WriteFile(filepath.Join(dir, strings.TrimLeft(name, ".-")), []byte(story), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d commands of %d pages", commands, len(pages)+1)
	p := params()
	p.Dir = dir
	testscript.Run(t, p)
}

func configOf(t *testing.T, page string) string {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllSubmatch(text, -1) {
		if string(m[1]) == "yaml" {
			return string(m[2])
		}
	}
	t.Fatalf("%s shows no configuration", page)
	return ""
}

// storyOfPage is the page as a script, and how many commands it types.
func storyOfPage(t *testing.T, page, config string) (story string, commands int) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{"given": "nothing", "then": "nothing"}
	for _, m := range comment.FindAllStringSubmatch(string(text), -1) {
		said[m[1]] = m[2]
	}
	given, known := givens[said["given"]]
	then, knownThen := thens[said["then"]]
	if !known || !knownThen {
		t.Fatalf("%s: nobody knows how to make %q or how to check %q", page, said["given"], said["then"])
	}
	var b strings.Builder
	var others string // further files that it names
	b.WriteString("# " + page + "\n" + given)
	for _, m := range step.FindAllStringSubmatch(string(text), -1) {
		if c := midway.FindStringSubmatch(m[0]); c != nil {
			typed, known := inBetween[c[1]]
			if !known {
				t.Fatalf("%s: nobody knows how to check %q", page, c[1])
			}
			b.WriteString(typed)
			continue
		}
		if m[1] != "sh" {
			if name := named.FindStringSubmatch(m[2]); name != nil {
				others += "-- " + name[1] + " --\n" + m[2]
			} else {
				config = m[2] // a page that shows one means that one
			}
			continue
		}
		for line := range strings.Lines(m[2]) {
			typed := typeLine(t, page, strings.TrimSpace(line))
			b.WriteString(typed)
			commands += min(len(typed), 1)
		}
	}
	want := 40
	if strings.Contains(given, mirrored) {
		want = 60
	}
	if strings.Contains(then, "%d") {
		then = fmt.Sprintf(then, want)
	}
	b.WriteString(then)
	b.WriteString("-- orders.yaml --\n" + config + others)
	return b.String(), commands
}

// typeLine is one line of a page as lines of a script.
func typeLine(t *testing.T, page, line string) string {
	t.Helper()
	how := remark.FindStringSubmatch(line)
	line = remark.ReplaceAllString(line, "")
	words := strings.Fields(line)
	switch {
	case line == "":
		return ""
	case words[0] == "make":
		return makeTarget(t, page, words)
	case words[0] == "bridge" && how == nil && strings.Contains(line, " offsets plan ") && strings.Contains(line, "--output json"):
		return "exec " + line + "\nhash\n"
	case words[0] == "bridge" && how == nil:
		return "exec " + line + "\n"
	case words[0] == "bridge" && how[1] == "until stopped":
		return fmt.Sprintf(until, line)
	case words[0] == "bridge":
		return "code " + strings.TrimPrefix(how[1], "exit ") + " " + line + "\n"
	case slices.Contains([]string{"tar", "ls"}, words[0]):
		return "exec " + line + "\n"
	}
	t.Fatalf("%s: nobody tries %q", page, line)
	return ""
}

// makeTarget sees that a target is there and types nothing: what a target does is tested
// by itself, and one of them runs this test.
func makeTarget(t *testing.T, page string, words []string) string {
	t.Helper()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range words[1:] {
		if !strings.Contains(string(makefile), "\n"+target+": ## ") {
			t.Errorf("%s: the Makefile has no target %s", page, target)
		}
	}
	return ""
}
