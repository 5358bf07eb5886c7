// Package fault is the one error type of Deputy: a kind, a stable code, a message that is safe to show, the fix, and a private cause.
//
// Code below the edges says which kind of failure it met; each edge owns one
// table from kind to its own wire format. An error that is not a fault is
// "internal" to the outside and goes in full to the log only.
package fault

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Kind says what sort of failure happened. Edges translate kinds, never codes.
type Kind int

// The kinds of failure.
const (
	Internal        Kind = iota // a bug, or a part of ours that does not work
	Invalid                     // the request is wrong in itself and will stay so
	Unauthenticated             // nobody, or nobody we believe, is asking
	Forbidden                   // the caller is known and may not
	NotFound                    // there is no such thing, or not for this caller
	Conflict                    // the thing exists already, or changed in between
	Gone                        // it was there, and has been used up or has expired
	TooLarge                    // the request exceeds a bound
	Throttled                   // too many requests; try later
	Upstream                    // a third party refused or answered nonsense
	Unavailable                 // a part that we need does not answer now; try later
)

var kindNames = [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not_found", "conflict",
	"gone", "too_large", "throttled", "upstream", "unavailable"}

// String returns the kind's name, for logs.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "internal"
	}
	return kindNames[k]
}

// Error is a failure that a person or a program can act upon. Message, Fix and
// Source are shown to whoever asked, so they must never hold a secret nor the
// text of a foreign error; that belongs into the cause, which only logs show.
type Error struct {
	Kind    Kind
	Code    string // stable and machine-readable: "provider_not_found"
	Message string // what happened, lower-case, no full stop
	Fix     string // what to do next; may be empty
	Source  string // where the offending setting came from ("--listen", "agentkit.yaml: common.agent_name"); may be empty
	cause   error
}

// New returns an Error without cause.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an Error whose cause is err. The cause is reachable for
// [errors.Is] and for logs and is not part of the message.
func Wrap(err error, kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...), cause: err}
}

// WithFix returns a copy of e that says what to do next.
func (e *Error) WithFix(format string, args ...any) *Error {
	c := *e
	c.Fix = fmt.Sprintf(format, args...)
	return &c
}

// WithSource returns a copy of e that says where the offending setting came from.
func (e *Error) WithSource(source string) *Error {
	c := *e
	c.Source = source
	return &c
}

// Error returns the safe text: message, source and fix, never the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Source != "" {
		fmt.Fprintf(&b, " (from %s)", e.Source)
	}
	if e.Fix != "" {
		fmt.Fprintf(&b, "; %s", e.Fix)
	}
	return b.String()
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.cause }

// LogValue shows everything, the cause too: logs are for operators.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String()), slog.String("code", e.Code), slog.String("message", e.Message)}
	if e.Source != "" {
		attrs = append(attrs, slog.String("source", e.Source))
	}
	if e.cause != nil {
		attrs = append(attrs, slog.String("cause", e.cause.Error()))
	}
	return slog.GroupValue(attrs...)
}

// As returns the Error in err's chain. An error without one is returned as an
// internal Error whose message says nothing, with err as the cause. As(nil) is
// nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Code: "internal", Message: "something went wrong inside Deputy", Fix: "quote the request id to the operator", cause: err}
}

// Is reports whether err is, or wraps, a fault of the given kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

// HasCode reports whether err is, or wraps, a fault with the given code.
func HasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
