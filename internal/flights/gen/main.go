// Command gen makes the embedded January of package flights from the zip of the year.
//
//	go run ./internal/flights/gen flights.csv.zip internal/flights/january.z
package main

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen ZIP OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	z, err := zip.OpenReader(in)
	if err != nil {
		return err
	}
	defer z.Close()
	f, err := z.File[0].Open()
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return err
	}
	names := rows[0]
	month := slices.Index(names, "month")
	columns := make([][]string, len(names))
	for _, r := range rows[1:] {
		if r[month] != "1" {
			break // the file is in the order of the year
		}
		for c, v := range r {
			columns[c] = append(columns[c], v)
		}
	}
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		return err
	}
	for _, c := range append([][]string{names}, columns...) {
		if _, err := fmt.Fprintln(w, strings.Join(c, "\x1f")); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}
