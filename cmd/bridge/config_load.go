package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// An origin says where the value of a setting came from.
type origin string

const originDefault origin = "default"

// A loaded configuration remembers where each value came from.
type loaded struct {
	config
	file    string
	origins map[string]origin // by path; a setting without a value has none
	marks   map[string]mark
	fields  []field
	client  *kafkastream.ClientProperties // of kafka.client_properties, nil if there is none
}

// A source of settings that goes before the file.
type override struct {
	path, value string
	from        origin
}

// maxConfigFile bounds what is read; a configuration is a few kilobytes.
const maxConfigFile = 1 << 20

// load reads the configuration: flags go before BRIDGE_* variables, those before the
// file, that before defaults. All faults are in the one error that it returns.
func load(path string, env func(string) (string, bool), flags []override) (*loaded, error) {
	l := &loaded{file: path, origins: map[string]origin{}, marks: map[string]mark{}}
	l.fields = fieldsOf(&l.config)
	for _, f := range l.fields {
		if text := f.tag.Get("default"); text != "" {
			if err := f.set(text); err != nil {
				return nil, fmt.Errorf("default of %s: %w", f.path, err)
			}
			l.origins[f.path] = originDefault
		}
	}
	b, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: path, env: env, fields: map[string]field{}, marks: l.marks}
	for _, f := range l.fields {
		d.fields[f.path] = f
	}
	if !d.decode(b) {
		return l, faultsError(d.faults) // nothing is known that could be judged further
	}
	for at, m := range d.marks {
		if _, leaf := d.fields[at]; leaf {
			l.origins[at] = origin(fmt.Sprintf("%s:%d:%d", path, m.line, m.column))
		}
	}
	faults := append(d.faults, l.override(env, flags)...)
	// Settings that could not be read would only make further checks say the same again.
	faults = append(faults, l.clientProperties()...)
	broken := map[string]bool{}
	for _, f := range faults {
		broken[f.Path] = true
	}
	faults = append(faults, l.check(broken)...)
	return l, faultsError(faults)
}

func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usageHint(fmt.Errorf("there is no configuration file %s", path), "name one with --config FILE or BRIDGE_CONFIG")
	case err != nil:
		return nil, usage(fmt.Errorf("configuration file: %w", err))
	case info.Size() > maxConfigFile:
		return nil, usage(fmt.Errorf("configuration file %s has %d bytes, the limit is %d", path, info.Size(), maxConfigFile))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("configuration file: %w", err))
	}
	return b, nil
}

// override applies the environment, then the flags.
func (l *loaded) override(env func(string) (string, bool), flags []override) []fault {
	var faults []fault
	for _, f := range l.fields {
		if value, ok := env(f.env()); ok && value != "" {
			faults = append(faults, l.apply(override{f.path, value, origin(f.env())})...)
		}
	}
	for _, o := range flags {
		faults = append(faults, l.apply(o)...)
	}
	return faults
}

func (l *loaded) apply(o override) []fault {
	i := slices.IndexFunc(l.fields, func(f field) bool { return f.path == o.path })
	texts := []string{o.value}
	if l.fields[i].isList() {
		texts = splitList(o.value)
	}
	if err := l.fields[i].set(texts...); err != nil {
		return []fault{{File: string(o.from), Path: o.path, Text: err.Error()}}
	}
	l.origins[o.path] = o.from
	return nil
}

func splitList(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// faultsError is nil if there is no fault, and else one usage error with all of them.
func faultsError(faults []fault) error {
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	var all *multierror.Error
	for _, f := range faults {
		all = multierror.Append(all, f)
	}
	if all == nil {
		return nil
	}
	all.ErrorFormat = listFaults
	return usage(all.ErrorOrNil())
}

func listFaults(errs []error) string {
	var b strings.Builder
	switch len(errs) {
	case 1:
		b.WriteString("the configuration has a fault")
	default:
		fmt.Fprintf(&b, "the configuration has %d faults", len(errs))
	}
	for _, err := range errs {
		b.WriteString("\n  " + err.Error())
		var f fault
		if errors.As(err, &f) && f.Hint != "" {
			b.WriteString("\n    hint: " + f.Hint)
		}
	}
	return b.String()
}

// hash names the configuration in reports: equal settings have equal hashes, however
// they were given, and secrets are left out.
func (l *loaded) hash() string {
	h := sha256.New()
	for _, f := range l.fields {
		// What changes no record names no other configuration.
		if !f.isSecret() && f.tag.Get("hash") != "-" {
			fmt.Fprintf(h, "%s=%q\n", f.path, f.text())
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
