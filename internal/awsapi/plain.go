package awsapi

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Plain takes off what the SDK wraps around an answer of a service, such as operation,
// status and request id, and takes secrets out of the message. It is nil for nil.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	return &plain{text(err), err}
}

// A plain error reads as its text; what it is made of is found by errors.As only.
type plain struct {
	text string
	err  error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.err }

// A classified error reads as what happened and is what it means.
type classified struct {
	error
	class error
}

func (c *classified) Unwrap() []error { return []error{c.error, c.class} }

func text(err error) string {
	var (
		creds *CredentialsError
		api   smithy.APIError
		send  *smithyhttp.RequestSendError
		to    *url.Error
		op    *smithy.OperationError
	)
	switch {
	case errors.As(err, &creds):
		return creds.text
	case errors.As(err, &api):
		if m := Scrub(api.ErrorMessage()); m != "" {
			return api.ErrorCode() + ": " + m
		}
		return api.ErrorCode()
	case errors.As(err, &send) && errors.As(send.Err, &to):
		return Scrub(to.URL + ": " + to.Err.Error())
	case errors.As(err, &send):
		return Scrub(send.Err.Error())
	case errors.As(err, &op):
		return Scrub(op.Err.Error())
	}
	return Scrub(err.Error())
}

// mostText is how many bytes of a message are kept.
const mostText = 600

var (
	// A service that does not like a signature repeats the request that it signed instead,
	// with the session token in it. Nothing behind these words is for people.
	repeated = regexp.MustCompile(`(?is)\s*(the canonical string|the string-to-sign|canonical ?request|string ?to ?sign)\b.*`)
	// secret is a named one, wherever it stands.
	secret = regexp.MustCompile(`(?i)((?:security|session|access|id)[-_ ]?token|secret(?:[-_ ]?access)?[-_ ]?key|password|signature|authorization|credential)("?\s*[=:]\s*"?)[^\s"',;&]+`)
	// opaque is a run of characters as tokens and iterators have, longer than any name.
	opaque = regexp.MustCompile(`[A-Za-z0-9+/=_%-]{129,}`)
)

// Scrub makes one line of a message that another program sent, without secrets in it.
func Scrub(message string) string {
	s := repeated.ReplaceAllString(message, "")
	s = secret.ReplaceAllString(s, "$1$2***")
	s = opaque.ReplaceAllString(s, "***")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(s) > mostText {
		s = strings.ToValidUTF8(s[:mostText], "") + "…"
	}
	return s
}
