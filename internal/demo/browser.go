package demo

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

const (
	maxPage      = 1 << 20 // bytes
	maxRedirects = 20
	pageTime     = 20 * time.Second
)

// person is a browser with somebody in front of it: cookies, redirects, forms.
type person struct {
	name string // for messages
	http *http.Client
	jar  *recordingJar
}

// page is what a browser shows in the end.
type page struct {
	status int
	url    *url.URL // where it ended
	header http.Header
	body   string
	via    []hop // the redirects on the way, oldest first
}

// hop is one answer that redirected.
type hop struct {
	location *url.URL  // where it led
	at       time.Time // when the answer had come
}

// newPerson returns a browser without cookies.
func newPerson(name string) (*person, error) {
	inner, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	jar := &recordingJar{Jar: inner}
	return &person{name: name, jar: jar, http: &http.Client{
		Jar:           jar,
		Transport:     &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// recordingJar keeps every value that was ever a cookie, for the search through
// the logs. Requests of one person do not overlap, except for a chat's stream,
// which sets no cookies.
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

// get opens an address and follows redirects, as long as on (nil: always)
// allows the next one.
func (p *person) get(ctx context.Context, address string, on func(next *url.URL) bool) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return page{}, err
	}
	return p.walk(req, on)
}

// submit sends the form of a page as a browser would.
func (p *person) submit(ctx context.Context, from page, f form, fill url.Values, button, choice string, on func(next *url.URL) bool) (page, error) {
	sent, err := f.press(fill, button, choice)
	if err != nil {
		return page{}, err
	}
	target, err := from.url.Parse(f.action)
	if err != nil {
		return page{}, errors.New("the form's action is no address")
	}
	if f.method != "post" {
		return page{}, errors.New("the form is not sent by POST, so what is typed would stand in the address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(sent.Encode()))
	if err != nil {
		return page{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", from.url.Scheme+"://"+from.url.Host)
	return p.walk(req, on)
}

// walk follows redirects from req. All of the ones in this demo are to be
// followed by GET (302 and 303); another kind ends the walk.
func (p *person) walk(req *http.Request, on func(next *url.URL) bool) (page, error) {
	ctx := req.Context()
	var via []hop
	for len(via) <= maxRedirects {
		got, err := p.once(req)
		if err != nil {
			return page{}, err
		}
		got.via = via
		if got.status != http.StatusFound && got.status != http.StatusSeeOther {
			return got, nil
		}
		next, err := got.url.Parse(got.header.Get("Location"))
		if err != nil {
			return page{}, fmt.Errorf("a redirect of %s leads nowhere", got.url.Host)
		}
		got.via = append(via, hop{next, time.Now()})
		via = got.via
		if on != nil && !on(next) {
			return got, nil
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil); err != nil {
			return page{}, errors.New("a redirect leads nowhere")
		}
	}
	return page{}, fmt.Errorf("more than %d redirects", maxRedirects)
}

// once sends one request and reads the answer.
func (p *person) once(req *http.Request) (page, error) {
	ctx, cancel := context.WithTimeout(req.Context(), pageTime)
	defer cancel()
	req = req.WithContext(ctx)
	req.Header.Set("Accept", "text/html,application/json;q=0.9,*/*;q=0.8")
	req.Header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.5")
	resp, err := p.http.Do(req)
	if err != nil {
		return page{}, redacted(err)
	}
	defer resp.Body.Close() // read to its bound
	b, err := wire.ReadAll(resp.Body, maxPage)
	if err != nil {
		return page{}, fmt.Errorf("a page of %s cannot be read: %w", req.URL.Host, err)
	}
	return page{status: resp.StatusCode, url: req.URL, header: resp.Header, body: string(b)}, nil
}

// redacted takes the address out of an error of net/http: its query may be a
// secret, and errors are printed.
func redacted(err error) error {
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

// errNoForm says that a page is not the one that was expected.
var errNoForm = errors.New("the page has no such form")

// find returns the first form of the page that has all the fields.
func (p page) find(fields ...string) (form, error) {
	for _, f := range readForms(p.body) {
		if !slices.ContainsFunc(fields, func(field string) bool { return !f.has(field) }) {
			return f, nil
		}
	}
	return form{}, fmt.Errorf("%w: %s%s answered %d without a form for %s", errNoForm, p.url.Host, p.url.Path, p.status, strings.Join(fields, " and "))
}

// toward returns the redirect on the way to the page that led to an address,
// whatever its query.
func (p page) toward(address string) (hop, bool) {
	for _, h := range p.via {
		if h.location.Scheme+"://"+h.location.Host+h.location.Path == address {
			return h, true
		}
	}
	return hop{}, false
}
