package op

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// Bounds of what comes in.
const (
	maxRequest = 8 << 10  // bytes of an authorization request's parameters
	maxBody    = 32 << 10 // bytes of a form: an authorization request in it is encoded once more
)

// base is what every endpoint needs.
type base struct {
	publicURL string
	pools     userpool.Pools
	pages     *browser.Pages
	log       *slog.Logger
	now       func() time.Time
}

// inPool returns "METHOD /userpool/{pool}/path" for "METHOD /path".
func inPool(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	return method + " " + poolPath("{pool}", path)
}

func poolPath(pool, path string) string { return "/userpool/" + pool + path }

func (b base) issuer(pool userpool.Pool) string { return userpool.Issuer(b.publicURL, pool.Name) }

// serve is an endpoint of a pool. It answers, or returns an error and has
// answered nothing.
type serve func(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error

// resolve finds the pool that the request names.
func (b base) resolve(r *http.Request) (userpool.Pool, error) {
	poolName := r.PathValue("pool")
	if name.Check("user pool", poolName) != nil {
		return userpool.Pool{}, userpool.NotFound("userpool", poolName)
	}
	return b.pools.Pool(r.Context(), poolName)
}

// page makes a handler that answers errors to a person.
func (b base) page(s serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pool, err := b.resolve(r)
		if err == nil {
			err = s(w, r, pool)
		}
		if err != nil {
			b.showError(w, r, pool, err)
		}
	})
}

// form is page for forms of ours: it refuses a submission that the browser says
// another origin made, before the form's own token is looked at.
func (b base) form(s serve) http.Handler {
	same := http.NewCrossOriginProtection()
	same.SetDenyHandler(b.page(func(http.ResponseWriter, *http.Request, userpool.Pool) error {
		return fault.New(fault.Forbidden, "form_foreign", "the form was sent by another site")
	}))
	return same.Handler(b.page(s))
}

// pageError is an error with a page of its own.
type pageError struct {
	status int
	notice browser.Notice
}

func (e *pageError) Error() string { return e.notice.Code + ": " + e.notice.Text.EN }

func (b base) showError(w http.ResponseWriter, r *http.Request, pool userpool.Pool, err error) {
	var own *pageError
	if errors.As(err, &own) {
		own.notice.Brand = pool.Title()
		b.pages.Render(w, r, own.status, own.notice)
		return
	}
	f := fault.As(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		b.log.ErrorContext(r.Context(), "page failed", "pool", pool.Name, "path", r.URL.Path, "err", err)
	}
	n := faultNotice(f)
	n.Brand = pool.Title()
	b.pages.Render(w, r, status(f.Kind), n)
}

// status is this edge's table from kind of failure to HTTP status.
func status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Gone:
		return http.StatusGone
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

// apiError is an error for a program (RFC 6749, section 5.2; RFC 6750, section 3).
type apiError struct {
	status    int
	challenge string // WWW-Authenticate; may be empty
	err       *oauth.Error
}

func (e *apiError) Error() string { return e.err.Error() }

func refuse(status int, code, description string) *apiError {
	return &apiError{status: status, err: oauth.NewError(code, description)}
}

// api makes a handler that answers errors to a program.
func (b base) api(s serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pool, err := b.resolve(r)
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
		wire.Write(w, own.status, own.err)
	})
}

// translate is this edge's table from fault to OAuth error.
func (b base) translate(r *http.Request, pool userpool.Pool, err error) *apiError {
	f := fault.As(err)
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.NotFound:
		return refuse(status(f.Kind), oauth.CodeInvalidRequest, f.Error())
	case fault.Gone, fault.Unauthenticated, fault.Conflict, fault.Forbidden:
		return refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, f.Error())
	}
	b.log.ErrorContext(r.Context(), "request failed", "pool", pool.Name, "path", r.URL.Path, "err", err)
	if f.Kind == fault.Unavailable || f.Kind == fault.Throttled {
		return refuse(http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, f.Error())
	}
	return refuse(http.StatusInternalServerError, oauth.CodeServerError, f.Error())
}

// redirect sends the browser on by GET, whatever the method was.
func redirect(w http.ResponseWriter, to string, targets ...string) {
	browser.Headers(w, targets...)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// withQuery appends parameters to a registered address, which it leaves as it
// is otherwise: clients compare, too.
func withQuery(uri string, q url.Values) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + q.Encode()
	}
	return uri + "?" + q.Encode()
}
