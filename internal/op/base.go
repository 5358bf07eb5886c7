package op

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// base is what every endpoint needs.
type base struct{ poolpage.Base }

// apiError is an error for a program (RFC 6749, section 5.2; RFC 6750, section 3).
type apiError struct {
	status     int
	challenge  string        // WWW-Authenticate; may be empty
	retryAfter time.Duration // Retry-After; may be zero
	err        *oauth.Error
}

func (e *apiError) Error() string { return e.err.Error() }

func refuse(status int, code, description string) *apiError {
	return &apiError{status: status, err: oauth.NewError(code, description)}
}

// api makes a handler that answers errors to a program.
func (b base) api(s poolpage.Serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pool, err := b.Resolve(r)
		if err == nil {
			err = s(w, r, pool)
		}
		if err == nil {
			return
		}
		var own *apiError
		if !errors.As(err, &own) {
			own = b.translate(r, pool, err)
		}
		if own.challenge != "" {
			w.Header().Set("WWW-Authenticate", own.challenge)
		}
		if own.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(own.retryAfter/time.Second)))
		}
		wire.Write(w, own.status, own.err)
	})
}

// translate is this edge's table from fault to OAuth error.
func (b base) translate(r *http.Request, pool userpool.Pool, err error) *apiError {
	var worded *oauth.Error
	if errors.As(err, &worded) {
		return &apiError{status: http.StatusBadRequest, err: worded}
	}
	f := fault.As(err)
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.NotFound:
		return refuse(poolpage.Status(f.Kind), oauth.CodeInvalidRequest, f.Error())
	case fault.Gone, fault.Unauthenticated, fault.Conflict, fault.Forbidden:
		return refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, f.Error())
	}
	b.Log.ErrorContext(r.Context(), "request failed", "pool", pool.Name, "path", r.URL.Path, "err", err)
	if f.Kind == fault.Unavailable || f.Kind == fault.Throttled || f.Kind == fault.Upstream {
		return refuse(http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, f.Error())
	}
	return refuse(http.StatusInternalServerError, oauth.CodeServerError, f.Error())
}

// person returns a user of the pool as a caller: a client that shows what he
// authorized acts for him.
func (b base) person(pool userpool.Pool, userID string) name.Caller {
	return name.Caller{Kind: name.Person, User: name.User{Issuer: b.Issuer(pool), Subject: userID}}
}
