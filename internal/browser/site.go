// Package browser has what every page shares: cookies, CSRF tokens, security headers, languages and the pages themselves.
//
// It knows no product noun. An edge fills a [Notice], a [Decision] or a [Form]
// and hands it to [Pages.Render]; forms are protected with [Site.FormToken] and
// [Site.CheckForm]. Pages need no JavaScript and allow none, but for [Passkey] and
// [Talk], which cannot be done without.
package browser

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// Site is one web origin of Deputy: it names the cookies and sets their
// attributes.
type Site struct {
	origin string
	prefix string // of cookie names
	secure bool
}

// NewSite returns the site at publicURL for one service ("id"). It returns a
// fault of kind Invalid unless the URL is https, or http to a loopback host:
// cookies and passwords do not travel in clear.
//
// Over https, cookie names have the prefix __Host-: such a cookie can be set
// only by this very host, over TLS, for the whole of it (RFC 6265bis, section
// 4.1.3.2). On loopback http that is not to be had, and cookies ignore ports;
// there the name carries service and port, so that programs on other ports of
// the machine do not overwrite it by accident, and nothing rests on a cookie
// alone that another port could have set.
func NewSite(publicURL, service string) (*Site, error) {
	u, err := url.Parse(publicURL)
	switch {
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fault.New(fault.Invalid, "public_url_invalid", "%q is not the address of a site", name.Clip(publicURL, 200)).
			WithFix("give scheme and host only, such as https://id.example.com")
	case u.Scheme == "https":
		return &Site{origin: publicURL, prefix: "__Host-" + service + "-", secure: true}, nil
	case u.Scheme == "http" && oauth.Loopback(u.Hostname()):
		return &Site{origin: publicURL, prefix: service + "-" + portOf(u) + "-"}, nil
	default:
		return nil, fault.New(fault.Invalid, "public_url_insecure", "%q is not https", name.Clip(publicURL, 200)).
			WithFix("put a TLS proxy in front and give its https:// address; plain http works on localhost only")
	}
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "80"
}

// Origin returns scheme and host of the site, without a slash at the end.
func (s *Site) Origin() string { return s.origin }

// Cookie returns the value of a cookie of this site, or "". A cookie that came
// twice was set by somebody else for a longer path or a wider domain as well;
// which of them is ours cannot be told, so neither counts.
func (s *Site) Cookie(r *http.Request, cookie string) string {
	all := r.CookiesNamed(s.prefix + cookie)
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

// SetCookie sets a cookie of this site. It lives for life, or, if that is 0,
// until the browser closes.
func (s *Site) SetCookie(w http.ResponseWriter, cookie, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: s.prefix + cookie, Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// ClearCookie removes a cookie of this site.
func (s *Site) ClearCookie(w http.ResponseWriter, cookie string) {
	http.SetCookie(w, &http.Cookie{
		Name: s.prefix + cookie, Path: "/", MaxAge: -1, Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// FormField is the name of the hidden input that carries the token of
// [Site.FormToken].
const FormField = "csrf"

// formCookie holds the browser's form key.
const formCookie = "form"

// FormToken returns the token for a form that is shown to this browser, giving
// the browser its form key first if it has none. The token is an HMAC under that
// key over what the form is for. Name everything in purpose that the
// submission must not change: the form's own name, the pool, the request that it
// answers, and, if the browser is logged in, its session's token. Then a token is
// of no use for another form, nor for another login, nor to somebody who could
// plant a form key in the browser but does not know its session.
func (s *Site) FormToken(w http.ResponseWriter, r *http.Request, purpose ...string) string {
	key := s.Cookie(r, formCookie)
	if len(key) < 32 {
		key = name.NewToken("fk")
		s.SetCookie(w, formCookie, key, 0)
	}
	return formMAC(key, purpose)
}

// CheckForm returns a fault of kind Forbidden with code "form_foreign" unless
// token is the one that this browser was given for the same purpose.
func (s *Site) CheckForm(r *http.Request, token string, purpose ...string) error {
	key := s.Cookie(r, formCookie)
	if len(key) >= 32 && secret.Equal(secret.FromString(token), secret.FromString(formMAC(key, purpose))) {
		return nil
	}
	return fault.New(fault.Forbidden, "form_foreign", "this form was not made for this browser, or it is out of date").
		WithFix("allow cookies, go back, reload the page and try again")
}

// formMAC is an HMAC-SHA-256 under key over an injective encoding of purpose.
func formMAC(key string, purpose []string) string {
	m := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(m, url.Values{"form": purpose}.Encode()) // a hash never fails to write
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}
