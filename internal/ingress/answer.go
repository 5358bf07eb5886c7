package ingress

import (
	"errors"
	"net/http"
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
	if errors.Is(err, errNoWebSocket) {
		q.out.Header().Set("Upgrade", "websocket") // RFC 9110, section 15.5.22
		h.answer(q, http.StatusUpgradeRequired, fault.New(fault.Invalid, "websocket_required", "this is the address of a WebSocket"))
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
	}
	if c := h.challenge(q, status, e); c != "" {
		q.out.Header().Set("WWW-Authenticate", c)
	}
	wire.Write(q.out, status, errorBody{errorDetail{message, strings.ReplaceAll(http.StatusText(status), " ", ""), e.Code}})
}

func (h *Handler) notReady(q *request, s fleet.Status) {
	q.retryAfter(time.Until(s.NextTry))
	// Not the reason: it quotes compilers and logs, and is for operators.
	h.refuse(q, fault.New(fault.Unavailable, "agent_not_ready", "the agent is not ready: it is %s", s.State).WithFix("try again later"))
}

func (h *Handler) wrongMethod(q *request, allow string) {
	q.out.Header().Set("Allow", allow)
	h.answer(q, http.StatusMethodNotAllowed, fault.New(fault.Invalid, "method_not_allowed", "this method is not for this path").WithFix("use %s", allow))
}
