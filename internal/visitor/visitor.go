// Package visitor goes through pages as a person in a browser without scripts does: cookies, redirects and forms.
package visitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/wire"
)

// The bounds of a visit.
const (
	// MaxPage is how much of a page is read, in bytes; a longer one is an error.
	MaxPage = 1 << 20
	// Timeout is how long one answer may take.
	Timeout = 20 * time.Second

	maxRedirects = 20
)

// Visitor is a browser with somebody in front of it. Requests of one visitor do
// not overlap, except for those whose answers set no cookies.
type Visitor struct {
	// HTTP is the browser's client: it has its cookies and follows no redirect.
	HTTP *http.Client
	jar  *recordingJar
}

// Page is what a browser shows in the end.
type Page struct {
	Status int
	URL    *url.URL // where it ended
	Header http.Header
	Body   string
	Via    []Hop // the redirects on the way, oldest first
}

// Hop is one answer that redirected.
type Hop struct {
	Location *url.URL  // where it led
	At       time.Time // when the answer had come
}

// New returns a browser without cookies.
func New() (*Visitor, error) {
	inner, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	jar := &recordingJar{Jar: inner}
	return &Visitor{jar: jar, HTTP: &http.Client{
		Jar:           jar,
		Transport:     &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Cookies returns every value that was ever a cookie of this browser.
func (v *Visitor) Cookies() []string { return v.jar.seen }

// recordingJar keeps every value that was ever a cookie.
type recordingJar struct {
	*cookiejar.Jar
	seen []string
}

// SetCookies implements [http.CookieJar].
func (j *recordingJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		if c.Value != "" && !slices.Contains(j.seen, c.Value) {
			j.seen = append(j.seen, c.Value)
		}
	}
	j.Jar.SetCookies(u, cookies)
}

// Get opens an address and follows redirects, as long as on (nil: always)
// allows the next one.
func (v *Visitor) Get(ctx context.Context, address string, on func(next *url.URL) bool) (Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Page{}, err
	}
	return v.walk(req, on)
}

// Submit sends the form of a page as a browser would.
func (v *Visitor) Submit(ctx context.Context, from Page, f Form, fill url.Values, button, choice string, on func(next *url.URL) bool) (Page, error) {
	sent, err := f.press(fill, button, choice)
	if err != nil {
		return Page{}, err
	}
	target, err := from.URL.Parse(f.Action)
	if err != nil {
		return Page{}, errors.New("the form's action is no address")
	}
	if f.Method != "post" {
		return Page{}, errors.New("the form is not sent by POST, so what is typed would stand in the address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(sent.Encode()))
	if err != nil {
		return Page{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", from.URL.Scheme+"://"+from.URL.Host)
	return v.walk(req, on)
}

// walk follows redirects from req. Those that are to be followed by GET (302 and
// 303) are; another kind ends the walk.
func (v *Visitor) walk(req *http.Request, on func(next *url.URL) bool) (Page, error) {
	ctx := req.Context()
	var via []Hop
	for len(via) <= maxRedirects {
		got, err := v.once(req)
		if err != nil {
			return Page{}, err
		}
		got.Via = via
		if got.Status != http.StatusFound && got.Status != http.StatusSeeOther {
			return got, nil
		}
		next, err := got.URL.Parse(got.Header.Get("Location"))
		if err != nil {
			return Page{}, fmt.Errorf("a redirect of %s leads nowhere", got.URL.Host)
		}
		got.Via = append(via, Hop{next, time.Now()})
		via = got.Via
		if on != nil && !on(next) {
			return got, nil
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil); err != nil {
			return Page{}, errors.New("a redirect leads nowhere")
		}
	}
	return Page{}, fmt.Errorf("more than %d redirects", maxRedirects)
}

// once sends one request and reads the answer.
func (v *Visitor) once(req *http.Request) (Page, error) {
	ctx, cancel := context.WithTimeout(req.Context(), Timeout)
	defer cancel()
	req = req.WithContext(ctx)
	req.Header.Set("Accept", "text/html,application/json;q=0.9,*/*;q=0.8")
	req.Header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.5")
	resp, err := v.HTTP.Do(req)
	if err != nil {
		return Page{}, Redacted(err)
	}
	defer resp.Body.Close() // read to its bound
	b, err := wire.ReadAll(resp.Body, MaxPage)
	if err != nil {
		return Page{}, fmt.Errorf("a page of %s cannot be read: %w", req.URL.Host, err)
	}
	return Page{Status: resp.StatusCode, URL: req.URL, Header: resp.Header, Body: string(b)}, nil
}

// Redacted takes the address out of an error of net/http: its query may be a
// secret, and errors are printed.
func Redacted(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		u, parseErr := url.Parse(wrapped.URL)
		if parseErr != nil {
			return wrapped.Err
		}
		return fmt.Errorf("%s %s://%s%s: %w", wrapped.Op, u.Scheme, u.Host, u.Path, wrapped.Err)
	}
	return err
}

// ErrNoForm says that a page is not the one that was expected.
var ErrNoForm = errors.New("the page has no such form")

// Find returns the first form of the page that has all the fields.
func (p Page) Find(fields ...string) (Form, error) {
	for _, f := range readForms(p.Body) {
		if !slices.ContainsFunc(fields, func(field string) bool { return !f.Has(field) }) {
			return f, nil
		}
	}
	return Form{}, fmt.Errorf("%w: %s%s answered %d without a form for %s", ErrNoForm, p.URL.Host, p.URL.Path, p.Status, strings.Join(fields, " and "))
}

// Toward returns the redirect on the way to the page that led to an address,
// whatever its query.
func (p Page) Toward(address string) (Hop, bool) {
	for _, h := range p.Via {
		if h.Location.Scheme+"://"+h.Location.Host+h.Location.Path == address {
			return h, true
		}
	}
	return Hop{}, false
}
