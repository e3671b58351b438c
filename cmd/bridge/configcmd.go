package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

func (a *app) configCommand() *cli.Command {
	return group("config", "show or check the configuration",
		command(cli.Command{
			Name:  "show",
			Usage: "print every setting as it takes effect",
			Description: `Prints the configuration after flags, environment, file and defaults were laid over each
other, as a file that says the same. Secrets are printed as ***.

Examples:
   bridge config show
   bridge config show --origin --config orders.yaml
   BRIDGE_KINESIS_REGION=eu-central-1 bridge config show --origin`,
			Flags: []cli.Flag{&cli.BoolFlag{Name: "origin", Usage: "say where each value comes from"}},
		}, a.configShow),
		command(cli.Command{
			Name:  "validate",
			Usage: "check the configuration and reach for nothing",
			Description: `Reads the configuration and lists everything that is wrong with it, each with line and
column. It connects to nothing and changes nothing.

Examples:
   bridge config validate
   bridge config validate --config orders.yaml --output json`,
		}, a.configValidate),
	)
}

func (a *app) configValidate(c *cli.Context) error {
	l, err := a.load(c)
	if err != nil {
		return err
	}
	a.warn(l)
	result := struct {
		File     string `json:"file"`
		Workflow string `json:"workflow"`
		Hash     string `json:"config_hash"`
	}{l.file, l.Workflow, l.hash()}
	a.answer = &answer{result: result, text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: workflow %s, no faults\n", l.file, l.Workflow)
		return err
	}}
	return nil
}

// warn says on stderr what is allowed but should be known.
func (a *app) warn(l *loaded) {
	for _, w := range l.warnings() {
		fmt.Fprintln(a.stderr, "bridge: warning: "+clean(w))
	}
}

// A setting is one line of config show.
type setting struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin origin `json:"origin"`
}

func (a *app) configShow(c *cli.Context) error {
	l, err := a.load(c)
	if err != nil {
		return err
	}
	var settings []setting
	for _, f := range l.fields {
		if from, ok := l.origins[f.path]; ok {
			settings = append(settings, setting{f.path, f.text(), from})
		}
	}
	a.answer = &answer{
		result: struct {
			Settings []setting `json:"settings"`
			Hash     string    `json:"config_hash"`
		}{settings, l.hash()},
		text: func(w io.Writer) error { return writeSettings(w, l, c.Bool("origin")) },
	}
	return nil
}

// writeSettings prints YAML, group by group in the order of the documentation.
func writeSettings(w io.Writer, l *loaded, origins bool) error {
	var lines, comments []string
	var open []string // groups that the last line stands in
	for _, f := range l.fields {
		from, ok := l.origins[f.path]
		if !ok {
			continue
		}
		parts := strings.Split(f.path, ".")
		groups := parts[:len(parts)-1]
		for i, g := range groups {
			if i >= len(open) || open[i] != g {
				open = groups[:i]
				lines, comments = append(lines, strings.Repeat("  ", i)+g+":"), append(comments, "")
				open = groups[:i+1]
			}
		}
		open = groups
		text, err := yamlText(f)
		if err != nil {
			return err
		}
		lines = append(lines, strings.Repeat("  ", len(groups))+parts[len(parts)-1]+": "+text)
		comments = append(comments, string(from))
	}
	width := 0
	for _, line := range lines {
		width = max(width, len(line))
	}
	for i, line := range lines {
		if origins && comments[i] != "" {
			line = fmt.Sprintf("%-*s  # %s", min(width, 48), line, comments[i])
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// yamlText is a value as YAML writes it, with quotes where they are needed.
func yamlText(f field) (string, error) {
	var v any = f.value.Interface()
	if f.isConsumers() {
		return f.text(), nil
	}
	switch v.(type) {
	case duration, size, share, kafkastream.Secret:
		v = f.text()
	}
	b, err := yaml.MarshalWithOptions(v, yaml.Flow(true))
	if err != nil {
		return "", fmt.Errorf("print %s: %w", f.path, err)
	}
	return strings.TrimSpace(string(b)), nil
}
