package golden

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// What a recording is made of, beside the directories home and kafka.
const (
	kinesisFile = "kinesis.json"
	dynamoFile  = "dynamo.json"
	configFile  = "config.yaml"
)

//go:embed testdata/*.tar.gz
var recordings embed.FS

// unpack writes a recording into a directory.
func unpack(name, dir string) error {
	packed, err := recordings.ReadFile("testdata/" + name + ".tar.gz")
	if err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackFile(r, filepath.Join(dir, filepath.FromSlash(h.Name)), fs.FileMode(h.Mode))
		}
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
}

func unpackFile(r io.Reader, path string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, mode)
}

// Save ends the services and packs a world that was started in dir into a file.
func (w *World) Save(dir, file string, k Kind) error {
	stream, err := w.Kinesis.Dump()
	if err != nil {
		return err
	}
	items := w.Dynamo.Items(Table)
	if err := errors.Join(w.Close(), os.Remove(filepath.Join(w.Dir, "bridge.yaml"))); err != nil {
		return err
	}
	for name, content := range map[string]string{kinesisFile: string(stream), dynamoFile: items, configFile: k.Config()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { return pack(t, dir, path, d, err) }); err != nil {
		return err
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, packed.Bytes(), 0o644)
}

func pack(t *tar.Writer, dir, path string, d fs.DirEntry, err error) error {
	if err != nil || d.IsDir() {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Size: int64(len(b))}); err != nil {
		return err
	}
	_, err = t.Write(b)
	return err
}
