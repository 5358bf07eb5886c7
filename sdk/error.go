package deputy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrRefused is what a tool wraps in its error when the third party refused
// the credential in a way that only the tool can see, such as an error code in
// a body:
//
//	return "", fmt.Errorf("feishu: %s (%d): %w", msg, code, deputy.ErrRefused)
//
// The SDK then gets a fresh credential, asking the user again if it must, and
// runs that tool call once more. (A plain 401 needs no help from the tool.)
var ErrRefused = errors.New("the third party refused the credential")

// Error is a refusal by Deputy, or by this package in its place. Message and
// Fix are written for people and hold no secret.
type Error struct {
	Status    int    // HTTP status; 0 when the refusal is not from the network
	Code      string // stable, for programs: "provider_not_found"
	Message   string // what happened
	Fix       string // what to do about it; may be empty
	Source    string // the field or setting that was wrong: "userToken"; may be empty
	RequestID string // to find the request in Deputy's log; may be empty
	// RetryAfter is how long Deputy, or the ingress before another agent, wants to be left alone. Short waits are
	// waited by the SDK itself. 0: nothing was said.
	RetryAfter time.Duration

	cause error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("deputy: ")
	b.WriteString(e.Message)
	if e.Fix != "" {
		b.WriteString("; ")
		b.WriteString(e.Fix)
	}
	b.WriteString(" (")
	b.WriteString(e.Code)
	if e.RequestID != "" {
		b.WriteString(", request ")
		b.WriteString(e.RequestID)
	}
	b.WriteString(")")
	return b.String()
}

// Unwrap returns what caused the error, for [errors.Is].
func (e *Error) Unwrap() error { return e.cause }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// retryAfter is what err says about when to come back.
func retryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// ConsentRequired says that the user must agree first. It is returned by
// [Client.Token]; agents built on [Agent] see it only when they were asked for one
// JSON answer, because otherwise the SDK shows the link and waits.
type ConsentRequired struct{ Authorization Authorization }

// Error implements error. It does not show the link, which is for the user only.
func (e *ConsentRequired) Error() string {
	return "deputy: the user has to authorize " + e.Authorization.Provider + " first (authorization_required)"
}

// AuthorizationError says that the user was asked and that no credential came
// of it.
type AuthorizationError struct {
	Provider string
	ID       string // of the authorization
	State    State  // [Failed] or [Expired]
	Reason   string // stable, for programs: "access_denied"
	Message  string // the reason in words, for the user; never empty
}

// Error implements error.
func (e *AuthorizationError) Error() string {
	return fmt.Sprintf("deputy: authorization of %s %s: %s (%s)", e.Provider, e.State, e.Message, e.Reason)
}

// failure turns an authorization that ended without a credential into an error.
func failure(a Authorization) *AuthorizationError {
	e := &AuthorizationError{Provider: a.Provider, ID: a.ID, State: a.State, Reason: a.Reason, Message: a.Message}
	if e.Reason == "" {
		e.Reason = string(a.State)
	}
	if e.Message == "" {
		switch {
		case e.State == Expired:
			e.Message = "the link was not used in time"
		case e.Reason == "access_denied":
			e.Message = "access was declined"
		default:
			e.Message = "the third party did not grant access"
		}
	}
	return e
}
