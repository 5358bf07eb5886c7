package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/wire"
)

// problem is an error as the API tells it (RFC 9457).
type problem struct {
	Type      string `json:"type" example:"urn:deputy:error:provider_not_found" doc:"urn:deputy:error: and the code"`
	Title     string `json:"title" example:"Not Found" doc:"The status in words"`
	Status    int    `json:"status" example:"404"`
	Detail    string `json:"detail" example:"there is no credential provider \"feishu-oauth\" in pool \"default\"" doc:"What happened"`
	Code      string `json:"code" example:"provider_not_found" doc:"Stable, for programs"`
	Fix       string `json:"fix,omitempty" example:"did you mean feishu_oauth?" doc:"What to do next"`
	Source    string `json:"source,omitempty" doc:"The field or setting that was wrong"`
	RequestID string `json:"requestId,omitempty" doc:"To quote to the operator"`
}

// statuses is this edge's table from kind to wire.
var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Invalid: http.StatusBadRequest, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden: http.StatusForbidden, fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Gone: http.StatusGone,
	fault.TooLarge: http.StatusRequestEntityTooLarge, fault.Throttled: http.StatusTooManyRequests, fault.Upstream: http.StatusBadGateway,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// exact has the codes for which HTTP knows a better status than their kind's.
var exact = map[string]int{"method_not_allowed": http.StatusMethodNotAllowed, "content_type_unsupported": http.StatusUnsupportedMediaType,
	"content_encoding_unsupported": http.StatusUnsupportedMediaType}

// fail answers with an error.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		// The client went away, or the server is going down: there is nobody to tell, or nothing to blame.
		err = fault.Wrap(err, fault.Unavailable, "request_canceled", "the request was cancelled")
	}
	f := fault.As(err)
	status := statuses[f.Kind]
	if s, ok := exact[f.Code]; ok {
		status = s
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError && f.Code != "request_canceled" {
		level = slog.LevelError
	}
	id := audit.RequestID(r.Context())
	a.Logger.LogAttrs(r.Context(), level, "request refused", slog.String("request", id), slog.String("path", name.Clip(r.URL.Path, 200)), slog.Any("err", f))
	if status == http.StatusUnauthorized {
		challenge := `Bearer realm="deputy"`
		if f.Code != "token_missing" { // RFC 6750, section 3.1: no error code for a request without credentials
			challenge += `, error="invalid_token", error_description="` + f.Code + `"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	wire.Write(w, status, problem{"urn:deputy:error:" + f.Code, http.StatusText(status), status, f.Message, f.Code, f.Fix, f.Source, id})
}
