package ingress

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/wire"
)

type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    string `json:"code"`
}

// statusOf is the ingress's table from kinds of faults to HTTP.
func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid, fault.Conflict, fault.Gone:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Upstream:
		return http.StatusBadGateway
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// refuse answers with the status of err's kind.
func (h *Handler) refuse(q *request, err error) {
	if errors.Is(err, errSlowBody) {
		h.answer(q, http.StatusRequestTimeout, fault.New(fault.Invalid, "body_timeout", "the body did not arrive in time"))
		return
	}
	e := fault.As(err)
	if e.Kind == fault.Internal {
		h.config.Log.Error("ingress failed", "requestId", q.id, "err", err)
	}
	h.answer(q, statusOf(e.Kind), e)
}

// answer writes an error in the shape that clients of the original know. 401
// holds the words that they look for.
func (h *Handler) answer(q *request, status int, e *fault.Error) {
	q.code = e.Code
	q.out.Header().Set("X-Request-Id", q.id) // again: forward may have handed it over to the agent's answer
	message := e.Error()
	if status == http.StatusUnauthorized {
		message = "Consumer authentication failed: " + message
		// RFC 6750, section 3.
		q.out.Header().Set("WWW-Authenticate", `Bearer realm="deputy", error="invalid_token", error_description="`+quotable(e.Message)+`"`)
	}
	wire.Write(q.out, status, errorBody{errorDetail{message, strings.ReplaceAll(http.StatusText(status), " ", ""), e.Code}})
}

// quotable replaces what error_description may not hold (RFC 6750, section 3).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		default:
			return r
		}
	}, s)
}

func (h *Handler) notReady(q *request, s fleet.Status) {
	after := 1
	if wait := time.Until(s.NextTry); wait > time.Second {
		after = int(wait/time.Second) + 1
	}
	q.out.Header().Set("Retry-After", strconv.Itoa(after))
	// Not the reason: it quotes compilers and logs, and is for operators.
	h.refuse(q, fault.New(fault.Unavailable, "agent_not_ready", "the agent is not ready: it is %s", s.State).WithFix("try again later"))
}

func (h *Handler) wrongMethod(q *request, allow string) {
	q.out.Header().Set("Allow", allow)
	h.answer(q, http.StatusMethodNotAllowed, fault.New(fault.Invalid, "method_not_allowed", "this method is not for this path").WithFix("use %s", allow))
}
