package server

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/name"
)

// access gives every request an id, logs one line for it, and keeps a panic in
// one handler from ending the process. The line has no query string and no
// headers, which may hold secrets.
func access(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := name.NewID("req")
		r = r.WithContext(audit.WithRequestID(r.Context(), id))
		w.Header().Set("X-Request-Id", id)
		seen := &statusWriter{ResponseWriter: w}
		begin := time.Now()
		defer func() {
			level := slog.LevelDebug
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				// The value of a panic may quote what it choked on; its type and place do not.
				log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("request", id), slog.String("path", r.URL.Path), slog.String("stack", string(debug.Stack())))
				if seen.status == 0 {
					http.Error(seen, "Something went wrong inside Deputy. Request id: "+id, http.StatusInternalServerError)
				}
			}
			if seen.status >= http.StatusInternalServerError {
				level = slog.LevelError
			}
			log.LogAttrs(r.Context(), level, "request", slog.String("request", id), slog.String("method", name.Clip(r.Method, 20)), slog.String("path", name.Clip(r.URL.Path, 200)),
				slog.Int("status", seen.status), slog.Duration("took", time.Since(begin)))
		}()
		next.ServeHTTP(seen, r)
	})
}

// bodyTimeout is how long the body of a request to the identity service may
// take to arrive. The server's own ReadTimeout would cut long polls as well.
const bodyTimeout = time.Minute

// boundBody ends a connection whose request body does not arrive in time.
func boundBody(limit time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// Writers that know no deadlines are those of tests, which send no slow bodies.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit))
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] flush and set deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
