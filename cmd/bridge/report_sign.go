package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
)

func (a *app) reportSign(c *cli.Context) error {
	file := c.Args().First()
	if c.String("key") == "" || c.String("by") == "" {
		return usageHint(errors.New("a signature needs --key FILE and --by NAME"), "--generate makes a key")
	}
	if err := report.CheckApprover(c.String("by"), c.String("note")); err != nil {
		return usage(err)
	}
	// Two people may sign at the same time: each signs what the other one left.
	unlock, err := lockReport(c.Context, file)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := openReport(file)
	if err != nil {
		return err
	}
	res, err := checkReport(file, r)
	if err != nil {
		return err
	}
	if !res.Intact {
		a.answer = res.answer()
		return classed{bridge.WithHint(fmt.Errorf("%s is not as it was made; it was not signed", file),
			"ask for it again where it was made"), errInconsistent}
	}
	if err := signable(r, c.String("accept")); err != nil {
		return err
	}
	key, err := signingKey(c.String("key"), c.Bool("generate"))
	if err != nil {
		return err
	}
	if err := r.Approve(report.Approval{By: c.String("by"), Note: c.String("note"), At: time.Now(), Tool: thisTool()}, key); err != nil {
		return err
	}
	out, err := writeReport(file, r, formsBeside(file))
	if err != nil {
		return err
	}
	a.answer = out.answer("bridge report check " + file)
	return nil
}

// signable refuses what nobody should sign without knowing.
func signable(r *report.Report, accepted string) error {
	state := string(r.Verdict)
	if r.ExitCode == exitDone {
		state = "valid"
		if !time.Now().Before(r.ValidUntil) {
			state = "expired"
		}
	}
	switch {
	case state == accepted || state == "valid" && accepted == "":
		return nil
	case state == "valid":
		return usage(fmt.Errorf("--accept %s: the report is consistent and valid", accepted))
	}
	return classed{bridge.WithHint(fmt.Errorf("the report is %s; it was not signed", state),
		"--accept "+state+" signs it all the same"), errGate}
}

// formsBeside lists the forms of a report that there are.
func formsBeside(file string) []report.Form {
	out := []report.Form{report.JSON}
	for _, f := range report.Forms() {
		if _, err := os.Stat(beside(file, f)); err == nil && f != report.JSON {
			out = append(out, f)
		}
	}
	return out
}

// signingKey reads a private key, or makes one that only its owner may read, and the
// public one beside it.
func signingKey(file string, generate bool) (ed25519.PrivateKey, error) {
	if generate {
		return newKey(file)
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageHint(fmt.Errorf("there is no key %s", file), "--generate makes it")
	}
	if err != nil {
		return nil, usage(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, usageHint(fmt.Errorf("others may read the key %s", file), "chmod 600 "+file)
	}
	der, err := readPEM(file, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, usageHint(fmt.Errorf("%s holds a key of another kind than ed25519", file),
			"--key NEW-FILE --generate makes an ed25519 key in a file of its own; "+file+" stays as it is")
	}
	return key, nil
}

func newKey(file string) (ed25519.PrivateKey, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	open, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := writeNew(file, 0o600, "PRIVATE KEY", private); err != nil {
		return nil, err
	}
	return key, writeNew(file+".pub", 0o644, "PUBLIC KEY", open)
}

// writeNew writes a file that must not be there yet: a key is never written over.
func writeNew(file string, mode fs.FileMode, kind string, der []byte) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return usageHint(fmt.Errorf("there is a file %s already", file), "leave --generate out to sign with it")
	}
	if err != nil {
		return usage(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.Sync()
}

// readPublicKey reads what newKey wrote beside a private key.
func readPublicKey(file string) (ed25519.PublicKey, error) {
	der, err := readPEM(file, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, usage(fmt.Errorf("%s holds no ed25519 public key", file))
	}
	return key, nil
}

func readPEM(file, kind string) ([]byte, error) {
	b, err := readNamed(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, usage(fmt.Errorf("%s holds no %s in PEM", file, kind))
	}
	return block.Bytes, nil
}
