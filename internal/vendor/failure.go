package vendor

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// Class is what has to happen after a vendor refused.
type Class string

// The classes of failure. Only ClassReauthorize says that a grant is of no use
// any more; whatever is not known to be final is ClassRetry.
const (
	ClassRetry       Class = "retry"       // temporary or unclear: keep everything and try later
	ClassRace        Class = "race"        // the refresh token was used before: read again, somebody else may have the new one
	ClassReauthorize Class = "reauthorize" // final: the user has to authorize again
	ClassConfig      Class = "config"      // a setting in Deputy is wrong
	ClassApp         Class = "app"         // a setting of the app at the vendor is wrong
	ClassScope       Class = "scope"       // the scopes are wrong, or not enabled for the app
	ClassUser        Class = "user"        // the person refused, may not, or has to begin again
)

func classes() []Class {
	return []Class{ClassRetry, ClassRace, ClassReauthorize, ClassConfig, ClassApp, ClassScope, ClassUser}
}

// Failure is why a vendor did not give what it was asked for. It is in the chain
// of every error of [Client] that is about the vendor's answer. Explanations
// and fixes come from the catalogue and are safe to show; they are never empty.
type Failure struct {
	Vendor        string // id of the entry
	Step          Step
	Class         Class
	Status        int    // of the answer; 0 = there was none
	VendorCode    string // the vendor's own code or error word; may be empty
	Explanation   string
	ExplanationZH string
	Fix           string
	FixZH         string
	Detail        string // the vendor's words, for logs only; empty if they could contain a secret
	// MaybeSpent is about a refresh: the refresh token can be used only once, and it is not known whether it has
	// been. There was no answer, or none that says what was done.
	MaybeSpent bool
	unanswered bool // the vendor may have done what it was asked for
	cause      error
}

// Error says everything, for logs.
func (f *Failure) Error() string {
	s := fmt.Sprintf("vendor %s at %s: status %d, code %q, class %s", f.Vendor, f.Step, f.Status, f.VendorCode, f.Class)
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	return s
}

// Unwrap returns the error of the connection, if there was no answer.
func (f *Failure) Unwrap() error { return f.cause }

// fault returns f as an error whose code is "vendor_" and the class.
func (f *Failure) fault() error {
	kind := fault.Upstream
	if f.Class == ClassRetry {
		kind = fault.Unavailable
	}
	return fault.Wrap(f, kind, "vendor_"+string(f.Class), "%s", f.Explanation).WithFix("%s", f.Fix)
}

// ExplainAuthorize says what an error means that came back on the callback
// instead of a code (RFC 6749, section 4.1.2.1). Both arguments come from the
// browser, so anybody can have written them. callback is Deputy's own, for the
// fix.
func (e Entry) ExplainAuthorize(callback, errorCode, description string) Failure {
	return *e.failure(StepAuthorize, 0, "", errorCode, callback, detail([]string{description}))
}

// failure classifies an answer by status, code and error word. A server error
// or a rate limit says nothing about the grant, whatever its body claims. A
// code that the catalogue does not know is unclear, and then the error word
// beside it must not end a grant either.
func (e Entry) failure(step Step, status int, code, word, callback, detail string) *Failure {
	known, ok := e.meaning(step, code)
	if !ok && word != "" {
		if known, ok = e.meaning(step, word); ok && code != "" && known.Class == ClassReauthorize {
			ok = false
		}
	}
	if !ok && step == StepAPI {
		known, ok = e.meaning(step, strconv.Itoa(status))
	}
	overloaded := status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
	if !ok || (overloaded && known.Class != ClassRetry) {
		known = unclear()
	}
	if shown := codeShape(code); word != "" && (shown == "" || shown == unreadable) {
		code = word
	}
	what, fix := e.fill(known.What, callback), e.fill(known.Fix, callback)
	return &Failure{
		Vendor: e.ID, Step: step, Class: known.Class, Status: status, VendorCode: codeShape(code), Detail: detail,
		Explanation: what.EN, ExplanationZH: what.ZH, Fix: fix.EN, FixZH: fix.ZH,
	}
}

func (e Entry) meaning(step Step, code string) (Code, bool) {
	if code == "" {
		return Code{}, false
	}
	for _, list := range [][]Code{e.Codes, e.common} {
		for _, c := range list {
			if slices.Contains(c.Codes, code) && (len(c.At) == 0 || slices.Contains(c.At, step)) {
				return c, true
			}
		}
	}
	return Code{}, false
}

// unclear is the meaning of everything that the catalogue does not explain.
func unclear() Code {
	return Code{
		Class: ClassRetry,
		What:  Words{EN: "{vendor} gave no clear answer", ZH: "{vendor} 没有给出明确的答复"},
		Fix:   Words{EN: "try again in a moment; if it stays so, see the log", ZH: "请稍后重试;如持续出现,请查看日志"},
	}
}

// unreadable stands for a code that does not look like one.
const unreadable = "unreadable"

// codeShape returns code if it looks like one, so that nobody can make Deputy
// show a text of theirs by calling it a code.
func codeShape(code string) string {
	for _, c := range []byte(code) {
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
		if !ok {
			return unreadable
		}
	}
	if len(code) > 64 {
		return unreadable
	}
	return code
}

// refused makes the failure for an answer that is not what was asked for.
func (e Entry) refused(step Step, status int, a answer, app App, sent []secret.Text) *Failure {
	code, word, failed := a.failed(e.Errors)
	var words []string
	for _, path := range e.Errors.Description {
		words = append(words, a.text(path))
	}
	f := e.failure(step, status, code, word, app.RedirectURI, detail(words, sent...))
	f.unanswered = status >= http.StatusInternalServerError || success(status) && !failed
	return f
}

// unreachable makes the failure for a request that got no answer. The vendor
// may have acted all the same, so nothing final is concluded. A refused or
// malformed address is a setting and stays so.
func (e Entry) unreachable(step Step, err error) error {
	f := e.failure(step, 0, "", "", "", "")
	f.cause, f.unanswered = err, !outbound.Unsent(err)
	var refusal *fault.Error
	if errors.As(err, &refusal) && (refusal.Kind == fault.Forbidden || refusal.Kind == fault.Invalid) {
		f.Class, f.Explanation, f.Fix = ClassConfig, refusal.Message, refusal.Fix
		f.ExplanationZH, f.FixZH = refusal.Message, refusal.Fix
		return fault.Wrap(f, fault.Invalid, refusal.Code, "%s", refusal.Message).WithFix("%s", refusal.Fix)
	}
	return f.fault()
}

// maxDetail bounds the vendor's words in a log line.
const maxDetail = 300

// detail returns the vendor's words for the log. Some vendors repeat the request
// in their answer: a text that has six bytes in common with a secret that was
// sent is dropped.
func detail(words []string, sent ...secret.Text) string {
	s := strings.TrimSpace(strings.Join(words, " "))
	for _, t := range sent {
		if overlaps(s, t.RevealString()) {
			return ""
		}
	}
	return name.Clip(oauth.Clean(s, 4*maxDetail), maxDetail)
}

func overlaps(s, secret string) bool {
	const window = 6
	if len(secret) <= window {
		return secret != "" && strings.Contains(s, secret)
	}
	for i := range len(secret) - window + 1 {
		if strings.Contains(s, secret[i:i+window]) {
			return true
		}
	}
	return false
}
