package oauth

import (
	"net/url"
	"strings"
)

// maxDescription bounds error_description in bytes; the RFC sets none.
const maxDescription = 500

// Error is an error as OAuth puts it on the wire, in JSON (RFC 6749, section
// 5.2) or in a redirect (section 4.1.2.1).
type Error struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// NewError returns an Error whose code and description are limited to the
// characters that the RFC allows; others become '?'.
func NewError(code, description string) *Error {
	return &Error{Code: Clean(code, 100), Description: Clean(description, maxDescription)}
}

// Error returns "code: description".
func (e *Error) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// Values returns the error as redirect parameters, with state if there is one.
func (e *Error) Values(state string) url.Values {
	v := url.Values{"error": {e.Code}}
	if e.Description != "" {
		v.Set("error_description", e.Description)
	}
	if state != "" {
		v.Set("state", state)
	}
	return v
}

// Clean returns at most max bytes of s, with '?' in place of every byte that
// RFC 6749, appendix A.7 and A.8, does not allow in error and error_description
// (so also of quotes and line breaks: the result is safe inside a quoted header
// parameter).
func Clean(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b.WriteByte('?')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
