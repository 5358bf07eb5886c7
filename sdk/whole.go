package deputy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
)

// outlet is where the answer to one prompt goes: a [stream], or in one piece.
// It is safe for concurrent use.
type outlet interface {
	say(text string)
	// call announces a function call, and done its end.
	call(adkFunctionCall)
	done(id, name string, response map[string]string)
	finish()
	fail(err error)
	// live reports whether the user sees what is said at once, so that he can be asked.
	live() bool
}

// whole is the answer as one JSON object, for programs that ask for no other:
// {"answer":"…"}, or an error with a status. Nobody looks at it while it comes into
// being, so a question to the user ends the turn; the error has the link, and who
// asked can ask again when the user has agreed.
type whole struct {
	w http.ResponseWriter

	mu   sync.Mutex
	text strings.Builder
}

func (a *whole) say(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.WriteString(text)
}

func (a *whole) call(adkFunctionCall) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.WriteString(paragraph(a.text.String()))
}

func (a *whole) done(string, string, map[string]string) {}

func (a *whole) live() bool { return false }

func (a *whole) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	writeJSON(a.w, http.StatusOK, map[string]string{"answer": a.text.String()})
}

func (a *whole) fail(err error) {
	var (
		need    *ConsentRequired
		outcome *AuthorizationError
	)
	switch e := (&Error{Code: errorCode(err), Message: errorMessage(err)}); {
	case errors.As(err, &need):
		type link struct {
			ID       string `json:"id"`
			Provider string `json:"provider"`
			URL      string `json:"url"`
		}
		writeJSON(a.w, http.StatusForbidden, struct {
			Error         errorBody `json:"error"`
			Authorization link      `json:"authorization"`
		}{newErrorBody(http.StatusForbidden, e), link{need.Authorization.ID, need.Authorization.Provider, need.Authorization.URL}})
	case errors.As(err, &outcome):
		e.Status = http.StatusForbidden
		writeError(a.w, e)
	case errors.Is(err, context.DeadlineExceeded):
		e.Status = http.StatusGatewayTimeout
		writeError(a.w, e)
	default:
		e.Status = http.StatusInternalServerError
		writeError(a.w, e)
	}
}

// wantsWhole reports whether a request takes JSON and nothing else. Whoever takes
// events, or anything, gets events.
func wantsWhole(r *http.Request) bool {
	json := false
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			media, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "application/json":
				json = true
			case "text/event-stream", "text/*", "*/*":
				return false
			}
		}
	}
	return json
}

// paragraph is what has to follow what was said so that the next word begins a
// paragraph.
func paragraph(said string) string {
	if said == "" || strings.HasSuffix(said, "\n\n") {
		return ""
	}
	return "\n\n"
}
