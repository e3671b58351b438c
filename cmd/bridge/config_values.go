package main

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A duration is written as Go writes it: 5s, 1m30s, 168h.
type duration time.Duration

func (d *duration) set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 5s, 1m30s or 168h", text)
	}
	*d = duration(v)
	return nil
}

// String leaves out zero minutes and seconds, which time.Duration writes.
func (d duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// A size is a number of bytes, written as 4096, 64KiB, 1MiB or 2GiB.
type size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (s *size) set(text string) error {
	digits, unit := text, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimSuffix(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit || digits[0] == '+' {
		return fmt.Errorf("%q is not a size such as 4096, 64KiB or 1MiB", text)
	}
	*s = size(n * unit)
	return nil
}

func (s size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// A share is a part of a whole, in thousandths, written as 0.5.
type share int64

func (s *share) set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v < 0 || v > 1000 {
		return fmt.Errorf("%q is not a share such as 0.5", text)
	}
	*s = share(math.Round(v * 1000))
	return nil
}

func (s share) String() string { return strconv.FormatFloat(float64(s)/1000, 'g', -1, 64) }

// cutPlace takes "file:.bridge" apart.
func cutPlace(s string) (kind, rest string, ok bool) {
	kind, rest, ok = strings.Cut(s, ":")
	return kind, rest, ok && rest != ""
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q is not an address such as http://127.0.0.1:4567", s)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q holds more than an address", u.Redacted())
	}
	return nil
}
