package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A property is one line of a Java properties file.
type property struct {
	name, value string
	line        int
}

// parseProperties reads the format of java.util.Properties: name and value are parted by
// "=", ":" or blanks, a backslash at the end of a line joins the next one, "#" and "!"
// begin comments.
func parseProperties(text string) ([]property, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("is not UTF-8 text")
	}
	var out []property
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		first := i
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for continues(line) && i+1 < len(lines) {
			i++
			line = line[:len(line)-1] + strings.TrimLeft(lines[i], " \t\f")
		}
		name, value := splitProperty(line)
		out = append(out, property{unescape(name), unescape(value), first + 1})
	}
	return out, nil
}

// continues reports whether a line ends in an odd number of backslashes.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

func splitProperty(line string) (name, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return line[:end], rest
}

var escapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r", `\f`, "\f", `\`, "")

func unescape(s string) string { return escapes.Replace(s) }

var jaasOption = regexp.MustCompile(`\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"`)

// A javaReader turns client.properties into settings.
type javaReader struct {
	file     string
	settings []override // whose origin is file:line
	ignored  []string
	faults   []fault
}

// properties lays a client.properties file below what the configuration itself says.
func (l *loaded) properties() []fault {
	path := l.Kafka.ClientProperties
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return []fault{{File: l.file, Line: l.marks["kafka.client_properties"].line, Column: l.marks["kafka.client_properties"].column,
			Path: "kafka.client_properties", Text: "cannot be read: " + err.Error()}}
	}
	props, err := parseProperties(string(b))
	if err != nil {
		return []fault{{File: path, Path: "kafka.client_properties", Text: err.Error()}}
	}
	r := &javaReader{file: path}
	r.read(props)
	l.ignored = r.ignored
	for _, o := range r.settings {
		if from, set := l.origins[o.path]; set && from != originDefault {
			continue
		}
		if o.path == "kafka.brokers" && l.Kafka.MSKClusterARN != "" {
			continue
		}
		r.faults = append(r.faults, l.apply(o)...)
	}
	return r.faults
}

func (r *javaReader) read(props []property) {
	last := map[string]property{}
	var order []string
	for _, p := range props {
		if _, seen := last[p.name]; !seen {
			order = append(order, p.name)
		}
		last[p.name] = p // as in Java, the last one counts
	}
	for _, name := range order {
		r.property(last[name], last)
	}
}

// plain are the properties that are settings of the same meaning.
var plainProperties = map[string]string{
	"bootstrap.servers":       "kafka.brokers",
	"ssl.truststore.location": "kafka.security.ca_file",
	"compression.type":        "kafka.compression",
}

// javaDefaults are properties that say what this program does anyway.
var javaDefaults = map[string]string{
	"ssl.truststore.type":                   "PEM",
	"ssl.endpoint.identification.algorithm": "https",
	"enable.idempotence":                    "true",
	"acks":                                  "all",
}

func (r *javaReader) property(p property, all map[string]property) {
	switch path, plain := plainProperties[p.name]; {
	case plain && p.name == "ssl.truststore.location" && !strings.EqualFold(all["ssl.truststore.type"].value, "PEM"):
		r.fault(p, "a truststore is read only as PEM, with ssl.truststore.type=PEM")
	case plain:
		r.set(p, path, p.value)
	case p.name == "security.protocol":
		r.protocol(p, all)
	case p.name == "sasl.mechanism":
		if all["security.protocol"].value == "" {
			r.fault(p, "needs security.protocol")
		}
	case p.name == "sasl.jaas.config":
		r.jaas(p, all)
	case javaDefaults[p.name] == p.value && p.value != "":
	case p.name == "ssl.endpoint.identification.algorithm":
		r.fault(p, "names in certificates are always checked; kafka.security.server_name can name another one")
	default:
		r.ignored = append(r.ignored, p.name)
	}
}

var saslProtocols = map[string]string{
	"PLAIN":         "sasl_plain",
	"SCRAM-SHA-256": "sasl_scram_sha_256",
	"SCRAM-SHA-512": "sasl_scram_sha_512",
	"AWS_MSK_IAM":   "msk_iam",
}

func (r *javaReader) protocol(p property, all map[string]property) {
	mechanism := all["sasl.mechanism"].value
	sasl, known := saslProtocols[mechanism]
	switch p.value {
	case "PLAINTEXT":
		r.set(p, "kafka.security.protocol", "none")
	case "SSL":
		r.set(p, "kafka.security.protocol", "tls")
	case "SASL_PLAINTEXT", "SASL_SSL":
		if !known || p.value == "SASL_PLAINTEXT" && sasl == "msk_iam" {
			r.fault(p, fmt.Sprintf("with sasl.mechanism %q is not supported", mechanism))
			return
		}
		r.set(p, "kafka.security.protocol", sasl)
		if p.value == "SASL_PLAINTEXT" {
			r.set(p, "kafka.security.allow_plaintext", "true")
		}
	default:
		r.fault(p, fmt.Sprintf("%q is not a security protocol", p.value))
	}
}

// jaas takes user and password out of a login module's options.
func (r *javaReader) jaas(p property, all map[string]property) {
	if all["sasl.mechanism"].value == "AWS_MSK_IAM" {
		return // it names Amazon's login module, which this program is itself
	}
	found := jaasOption.FindAllStringSubmatch(p.value, -1)
	for _, m := range found {
		r.set(p, "kafka.security."+m[1], unescape(m[2]))
	}
	if len(found) == 0 {
		r.fault(p, "holds no username and password")
	}
}

func (r *javaReader) set(p property, path, value string) {
	r.settings = append(r.settings, override{path, value, origin(fmt.Sprintf("%s:%d", r.file, p.line))})
}

func (r *javaReader) fault(p property, text string) {
	r.faults = append(r.faults, fault{File: r.file, Line: p.line, Column: 1, Path: p.name, Text: text})
}
