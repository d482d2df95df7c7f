package ems

import (
	"errors"
	"fmt"
)

// Code classifies an error for programs: an HTTP client, a retry loop, a metric
// label. The text beside it is for people.
type Code string

// The codes that cross a border of the system.
const (
	CodeInvalid     Code = "INVALID"     // the caller sent something wrong; sending it again will not help
	CodeNotFound    Code = "NOT_FOUND"   // no such thing
	CodeConflict    Code = "CONFLICT"    // the thing is not in the state that the caller thinks
	CodeStale       Code = "STALE"       // the data behind the request is too old to act on
	CodeExpired     Code = "EXPIRED"     // the deadline passed before the work began
	CodeUnknown     Code = "UNKNOWN"     // whether the work was done cannot be told
	CodeUnavailable Code = "UNAVAILABLE" // something the service needs cannot be reached; try again later
	CodeFull        Code = "FULL"        // a bound was reached; nothing was stored
	CodeDenied      Code = "DENIED"      // wrong or missing credentials
	CodeInternal    Code = "INTERNAL"    // a fault of ours
)

// Error is an error that carries a code and, where there are any, the
// particulars of each fault found.
type Error struct {
	Code    Code
	Message string
	Details []string
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what the error was built from.
func (e *Error) Unwrap() error { return e.cause }

// Errorf builds an error with a code. A %w in the format keeps its cause.
func Errorf(code Code, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), cause: errors.Unwrap(wrapped)}
}

// CodeOf returns the code of the outermost coded error in the chain, and
// CodeInternal where there is none.
func CodeOf(err error) Code {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return CodeInternal
}
