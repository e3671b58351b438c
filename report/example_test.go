package report_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge/report"
)

// A result becomes a report, is signed, and is checked by whoever gets it.
func Example() {
	result := world{shards: 1, hours: 2}.result() // of verify.Verifier.Run
	r, err := report.New(result, report.Facts{Tool: "bridge v1.0.0", Now: began.Add(27 * time.Hour)})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Approve(report.Approval{By: "Ada Byron", At: time.Now()}, key); err != nil {
		fmt.Println(err)
		return
	}
	file, err := r.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}

	got, err := report.Decode(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	controls, err := got.Check()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range controls {
		fmt.Println(c.Name, c.Pass)
	}
	// Output:
	// manifest true
	// root true
	// windows true
	// totals true
	// balance true
	// findings true
	// coverage true
	// verdict true
	// approval true
}

// The text form begins with a screen that says it all.
func ExampleWrite() {
	r, err := report.New(world{shards: 1, hours: 2}.result(), report.Facts{Now: began.Add(27 * time.Hour)})
	if err != nil {
		fmt.Println(err)
		return
	}
	var text strings.Builder
	if err := report.Write(&text, r, report.Text); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Join(strings.Split(text.String(), "\n")[:5], "\n"))
	// Output:
	// ✓ CONSISTENT
	// Consistency report: orders
	//
	// Each of the 2,076 source records in scope is on the target, unchanged and in
	// order.
}
