package deputy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// bodyTimeout bounds the time in which a request's body arrives.
const bodyTimeout = 30 * time.Second

// The headers that the runtime's ingress sets; it removes them from what
// clients send.
const (
	headerToken   = "WorkloadAccessToken"
	headerSession = "session_id"
	headerRequest = "X-Request-Id"
)

var (
	sessionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	requestName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
)

// invoke answers one prompt. Who is asking is taken from the verified token and
// from nowhere else.
func (b *builtAgent) invoke(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(headerRequest)
	if !requestName.MatchString(id) {
		id = "req_" + strings.ReplaceAll(newUUID(), "-", "")
	}
	w.Header().Set(headerRequest, id)
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, id), b.maxTurn)
	defer cancel()

	wat, who, err := b.authenticate(r.WithContext(ctx))
	if err != nil {
		b.refuseCaller(ctx, w, id, err)
		return
	}
	prompt, err := readPrompt(w, r, b.maxPrompt)
	if err != nil {
		b.log.InfoContext(ctx, "request refused", "request", id, "error", err)
		writeError(w, err)
		return
	}
	session := Session{User: who.User}
	if name := r.Header.Get(headerSession); sessionName.MatchString(name) {
		session.ID = name
	}
	t := newTurn(b, wat, b.outlet(w, r, cancel))
	t.Prompt, t.Session, t.Chain, t.RequestID = prompt, session, who.Chain, id
	if err := b.answer(ctx, t); err != nil {
		b.log.WarnContext(ctx, "turn failed", "request", id, "code", errorCode(err), "error", err)
		t.out.fail(err)
		return
	}
	t.out.finish()
}

// outlet begins the answer in the form that the client asked for.
func (b *builtAgent) outlet(w http.ResponseWriter, r *http.Request, gone func()) outlet {
	if wantsWhole(r) {
		return &whole{w: w}
	}
	s := &stream{w: w, now: b.now, author: b.name, invocationID: "e-" + newUUID(), gone: gone}
	s.begin()
	return s
}

// answer calls the author's Respond. A panic there must not look to the user
// like a broken connection.
func (b *builtAgent) answer(ctx context.Context, t *Turn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.log.ErrorContext(ctx, "agent panicked", "request", t.RequestID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("panic")
		}
	}()
	if err := b.respond(ctx, t); err != nil {
		return err
	}
	return ctx.Err() // an answer that was cut off is not finished
}

func (b *builtAgent) authenticate(r *http.Request) (Secret, Identity, error) {
	wat, who, err := b.deputy.Authenticate(r)
	if err == nil && who.User == (User{}) && !b.alone {
		err = refuse("token_without_user", "the workload access token acts for nobody")
	}
	return wat, who, err
}

// refuseCaller answers a request without a believable token.
func (b *builtAgent) refuseCaller(ctx context.Context, w http.ResponseWriter, id string, err error) {
	b.log.WarnContext(ctx, "caller refused", "request", id, "error", err)
	e := b.blame(err)
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="deputy", error="invalid_token", error_description=%q`, e.Message))
	}
	writeError(w, e)
}

// blame returns what a caller is told who was not believed. Not being able to
// check a token is a failure of ours, not of the caller; so is a proof of our own
// that Deputy does not take.
func (b *builtAgent) blame(err error) *Error {
	var e *Error
	switch {
	case !errors.As(err, &e):
	case e.Status == 0 && strings.HasPrefix(e.Code, "token_"):
		return &Error{Status: http.StatusUnauthorized, Code: e.Code, Message: e.Message}
	case e.Source == "userToken" && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
		return &Error{Status: e.Status, Code: e.Code, Message: e.Message}
	}
	if b.deputy.Direct {
		return &Error{Status: http.StatusServiceUnavailable, Code: "exchange_failed",
			Message: "the caller cannot be verified now, because Deputy does not exchange his token"}
	}
	return &Error{Status: http.StatusServiceUnavailable, Code: "keys_unavailable",
		Message: "the caller cannot be verified now, because Deputy's keys cannot be read"}
}

// readPrompt reads {"prompt":"…"}. Other members are left alone: clients send
// some of their own.
func readPrompt(w http.ResponseWriter, r *http.Request, limit int64) (string, error) {
	// The bound is on the body only. A deadline that stayed would end the request's context while it is answered.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return "", &Error{Status: http.StatusRequestEntityTooLarge, Code: "prompt_too_large",
			Message: fmt.Sprintf("The request body is larger than %d bytes.", limit)}
	}
	badRequest := func(code, message string) error {
		return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
	}
	var payload map[string]json.RawMessage
	if err != nil || json.Unmarshal(b, &payload) != nil || payload == nil {
		return "", badRequest("json_invalid", "Invalid JSON payload. Please provide a valid JSON object in the request body.")
	}
	var prompt string
	if json.Unmarshal(payload["prompt"], &prompt) != nil || strings.TrimSpace(prompt) == "" {
		return "", badRequest("prompt_missing", `The request needs a "prompt" that is a text and not empty.`)
	}
	return prompt, nil
}

// errorTypes are the types that clients of such runtimes know, by status.
var errorTypes = map[int]string{
	http.StatusBadRequest:            "BadRequest",
	http.StatusUnauthorized:          "Unauthorized",
	http.StatusForbidden:             "Forbidden",
	http.StatusNotFound:              "NotFound",
	http.StatusRequestEntityTooLarge: "PayloadTooLarge",
	http.StatusServiceUnavailable:    "ServiceUnavailable",
	http.StatusGatewayTimeout:        "GatewayTimeout",
}

type errorBody struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    string `json:"code"`
}

func newErrorBody(status int, e *Error) errorBody {
	kind := errorTypes[status]
	if kind == "" {
		kind = "InternalError"
	}
	return errorBody{e.Message, kind, e.Code}
}

func writeError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) || e.Status == 0 {
		e = &Error{Status: http.StatusInternalServerError, Code: "internal", Message: "Internal error."}
	}
	writeJSON(w, e.Status, map[string]errorBody{"error": newErrorBody(e.Status, e)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away; there is nobody to tell
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	writeError(w, &Error{Status: http.StatusNotFound, Code: "route_not_found", Message: "This agent answers POST /invoke, GET /ping and GET /health."})
}

func (b *builtAgent) ping(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "Healthy"})
}

func (b *builtAgent) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status    string  `json:"status"`
		Timestamp float64 `json:"timestamp"` // seconds
		Service   string  `json:"service"`
	}{"healthy", float64(b.now().UnixMicro()) / 1e6, b.name})
}
