// Package flights gives tests and the demo real records: the departures from New York in
// 2013 (public data of the Bureau of Transportation Statistics, as in nycflights13), in
// the order of the file. The key is the aircraft's tail number, a natural key whose order
// matters; the value is the row as JSON with "row", its line number, which is the only
// total order there is: no column of time rises within a key.
//
// January is embedded. The variable BRIDGE_FLIGHTS names the zip of the whole year.
package flights

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
)

// NoTail is the key of rows without a tail number.
const NoTail = "NA"

// A Row is one flight.
type Row struct {
	N     int    // line of the file, from 1
	Tail  string // NoTail if there is none
	Value []byte // JSON
}

// january holds the columns of January, one a line of the file that the names head, the
// values of a column separated by 0x1f; compressed by zlib. Package gen makes it.
//
//go:embed january.z
var january []byte

// January yields the 27,004 rows of January. Its error is that of the embedded file.
func January() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		columns, err := columns()
		if err != nil {
			yield(Row{}, fmt.Errorf("embedded flights: %w", err))
			return
		}
		names := columns[0]
		fields := make([]string, len(names))
		for i := range columns[1] {
			for c := range names {
				fields[c] = columns[c+1][i]
			}
			if !yield(row(i+1, names, fields), nil) {
				return
			}
		}
	}
}

func columns() ([][]string, error) {
	r, err := zlib.NewReader(bytes.NewReader(january))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var out [][]string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		out = append(out, strings.Split(line, "\x1f"))
	}
	return out, nil
}

// All yields the rows of the zip that BRIDGE_FLIGHTS names, or January without it; from
// says which, for people.
func All() (rows iter.Seq2[Row, error], from string) {
	path := os.Getenv("BRIDGE_FLIGHTS")
	if path == "" {
		return January(), "the embedded January (BRIDGE_FLIGHTS is not set)"
	}
	return Zip(path), "the file that BRIDGE_FLIGHTS names"
}

// Zip yields the rows of the first file in a zip, a CSV with a line of names.
func Zip(path string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := readZip(path, func(r Row) bool { return yield(r, nil) }); err != nil {
			yield(Row{}, fmt.Errorf("flights in %s: %w", path, err))
		}
	}
}

func readZip(path string, take func(Row) bool) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer z.Close()
	if len(z.File) == 0 {
		return io.ErrUnexpectedEOF
	}
	f, err := z.File[0].Open()
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.ReuseRecord = true
	first, err := r.Read()
	if err != nil {
		return err
	}
	names := append([]string(nil), first...)
	for n := 1; ; n++ {
		fields, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !take(row(n, names, fields)) {
			return nil
		}
	}
}

// row writes a row as JSON: numbers as numbers, NA as null, anything else as text.
func row(n int, names, fields []string) Row {
	out := Row{N: n, Tail: NoTail}
	b := append(make([]byte, 0, 384), `{"row":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	for i, name := range names {
		b = append(b, ',', '"')
		b = append(b, name...)
		b = append(b, '"', ':')
		v := fields[i]
		if name == "tailnum" && v != "" {
			out.Tail = v
		}
		switch _, err := strconv.ParseInt(v, 10, 64); {
		case v == NoTail || v == "":
			b = append(b, "null"...)
		case err == nil && name != "flight" && name != "tailnum":
			b = append(b, v...)
		default:
			b = strconv.AppendQuote(b, v)
		}
	}
	out.Value = append(b, '}')
	return out
}
