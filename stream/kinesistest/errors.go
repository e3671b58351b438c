package kinesistest

import "fmt"

// An Error is what the service answers instead of a result: a type and a message, under an
// HTTP status.
type Error struct {
	// Status is the HTTP status: 400 for what the caller did, 5xx for what the service did.
	Status int
	// Type is the value of __type, such as "ResourceNotFoundException".
	Type string
	// Message is for people. The service leaves it out of some errors; so does "".
	Message string
}

// Error is "Type: Message".
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Type
	}
	return e.Type + ": " + e.Message
}

// Throttled is the refusal of a call because a shard's rate is used up.
func Throttled() *Error {
	return &Error{400, throughputExceeded, "Rate exceeded."}
}

// InternalFailure is the service's own failure, HTTP 500.
func InternalFailure() *Error {
	return &Error{500, internalFailure, "Internal Service Failure"}
}

// Unavailable is HTTP 503.
func Unavailable() *Error {
	return &Error{503, "ServiceUnavailable", "The service is unavailable. Please try again shortly."}
}

// AccessDenied is the refusal of a caller that lacks the permission.
func AccessDenied(message string) *Error {
	return &Error{400, "AccessDeniedException", message}
}

const (
	throughputExceeded = "ProvisionedThroughputExceededException"
	internalFailure    = "InternalFailure"
)

func clientError(kind, format string, args ...any) *Error {
	return &Error{400, kind, fmt.Sprintf(format, args...)}
}

func invalidArgument(format string, args ...any) *Error {
	return clientError("InvalidArgumentException", format, args...)
}

func limitExceeded(format string, args ...any) *Error {
	return clientError("LimitExceededException", format, args...)
}

func notFound(format string, args ...any) *Error {
	return clientError("ResourceNotFoundException", format, args...)
}

func inUse(format string, args ...any) *Error {
	return clientError("ResourceInUseException", format, args...)
}

// invalid is the answer of the service's input validation, in its words.
func invalid(field, value, constraint string) *Error {
	return clientError("ValidationException",
		"1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, field, constraint)
}
