// Package poolpage has what all pages and endpoints of a user pool share: finding the pool, errors told to people, redirects.
package poolpage

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Bounds of what comes in.
const (
	MaxRequest = 8 << 10  // bytes of an authorization request's parameters
	MaxBody    = 32 << 10 // bytes of a form: an authorization request in it is encoded once more
)

// Base is what every endpoint of the pools needs. All fields are required.
type Base struct {
	PublicURL string // of the identity service: https://host, no slash at the end
	Site      *browser.Site
	Pages     *browser.Pages
	Pools     userpool.Pools
	Log       *slog.Logger
	Now       func() time.Time
	Address   func(*http.Request) netip.Addr // of the browser; [RemoteAddress] where no proxy stands between
}

// RemoteAddress returns the address of the connection's other end, or the zero
// Addr if that is none.
func RemoteAddress(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr()
}

// Pattern returns "METHOD /userpool/{pool}/path" for "METHOD /path".
func Pattern(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	return method + " " + Path("{pool}", path)
}

// Path returns the local address of a path of the pool.
func Path(pool, path string) string { return "/userpool/" + pool + path }

// Issuer returns the issuer URL of the pool.
func (b Base) Issuer(pool userpool.Pool) string { return userpool.Issuer(b.PublicURL, pool.Name) }

// The files of a pool's look, see [Base.Brand].
const (
	StyleFile = "style.css"
	LogoFile  = "logo"
)

// Brand returns whose pages the pool's are, with the addresses of what its look
// has. They change with the look.
func (b Base) Brand(pool userpool.Pool) browser.Brand {
	brand, look := browser.Brand{Name: pool.Title()}, pool.Settings.Look
	if look.Color != "" {
		brand.Style = Path(pool.Name, "/look/"+look.Version()+"/"+StyleFile)
	}
	if len(look.Logo) > 0 {
		brand.Logo = Path(pool.Name, "/look/"+look.Version()+"/"+LogoFile)
	}
	return brand
}

// Serve is an endpoint of a pool. It answers, or returns an error and has
// answered nothing.
type Serve func(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error

// Resolve finds the pool that the request names.
func (b Base) Resolve(r *http.Request) (userpool.Pool, error) {
	poolName := r.PathValue("pool")
	if name.Check("user pool", poolName) != nil {
		return userpool.Pool{}, userpool.NotFound("userpool", poolName)
	}
	return b.Pools.Pool(r.Context(), poolName)
}

// Page makes a handler that answers errors to a person.
func (b Base) Page(s Serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pool, err := b.Resolve(r)
		if err == nil {
			err = s(w, r, pool)
		}
		if err != nil {
			b.showError(w, r, pool, err)
		}
	})
}

// Form is Page for forms of ours: it refuses a submission that the browser says
// another origin made, before the form's own token is looked at.
func (b Base) Form(s Serve) http.Handler {
	same := http.NewCrossOriginProtection()
	same.SetDenyHandler(b.Page(func(http.ResponseWriter, *http.Request, userpool.Pool) error {
		return fault.New(fault.Forbidden, "form_foreign", "the form was sent by another site")
	}))
	return same.Handler(b.Page(s))
}

// Error is an error with a page of its own. The page gets the pool's brand.
type Error struct {
	Status int
	Notice browser.Notice
}

// Error implements error.
func (e *Error) Error() string { return e.Notice.Code + ": " + e.Notice.Text.EN }

func (b Base) showError(w http.ResponseWriter, r *http.Request, pool userpool.Pool, err error) {
	var own *Error
	if errors.As(err, &own) {
		n := own.Notice
		n.Brand = b.Brand(pool)
		b.Pages.Render(w, r, own.Status, n)
		return
	}
	f := fault.As(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		b.Log.ErrorContext(r.Context(), "page failed", "pool", pool.Name, "path", r.URL.Path, "err", err)
	}
	n := faultNotice(f)
	n.Brand = b.Brand(pool)
	b.Pages.Render(w, r, Status(f.Kind), n)
}

// Status is the pool edges' table from kind of failure to HTTP status.
func Status(k fault.Kind) int {
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

// Redirect sends the browser on by GET, whatever the method was. targets are
// those of [browser.Headers].
func Redirect(w http.ResponseWriter, to string, targets ...string) {
	browser.Headers(w, targets...)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// WithQuery appends parameters to a registered address, which it leaves as it
// is otherwise: clients compare, too.
func WithQuery(uri string, q url.Values) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + q.Encode()
	}
	return uri + "?" + q.Encode()
}
