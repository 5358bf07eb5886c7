package browser

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/audit"
)

//go:embed page.html deputy.css deputy.svg passkey.js talk.js
var files embed.FS

// Pages renders pages in one design. Make one with [NewPages].
type Pages struct {
	site    *Site
	log     *slog.Logger
	tmpl    *template.Template
	version string // of the assets: part of their path, so that they may be cached for good
}

// NewPages returns the pages of a site.
func NewPages(site *Site, log *slog.Logger) (*Pages, error) {
	p := &Pages{site: site, log: log}
	sum := sha256.New()
	for _, name := range []string{"deputy.css", "deputy.svg", "passkey.js", "talk.js"} {
		b, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum.Write(b)
	}
	p.version = hex.EncodeToString(sum.Sum(nil)[:6])
	var err error
	p.tmpl, err = template.New("page.html").ParseFS(files, "page.html")
	return p, err
}

// Mount serves the pages' assets.
func (p *Pages) Mount(mux *http.ServeMux) {
	mux.Handle("GET /assets/{version}/{file}", http.HandlerFunc(p.asset))
}

func (p *Pages) asset(w http.ResponseWriter, r *http.Request) {
	types := map[string]string{"deputy.css": "text/css; charset=utf-8", "deputy.svg": "image/svg+xml",
		"passkey.js": "text/javascript; charset=utf-8", "talk.js": "text/javascript; charset=utf-8"}
	file := r.PathValue("file")
	b, err := files.ReadFile(file)
	if types[file] == "" || err != nil || r.PathValue("version") != p.version {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", types[file])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'")
	_, _ = w.Write(b) // a browser that went away is not our error
}

// Page is one of [Notice], [Decision], [Form], [List], [Passkey] and [Talk].
type Page interface {
	frame() frame
}

// frame is what the layout needs of a page.
type frame struct {
	kind    string // which template
	title   Text
	brand   Brand
	targets []string
	again   string
	script  bool // it has the script that is named after its kind
}

// view is what the template sees.
type view struct {
	Page      Page
	Kind      string
	Title     string
	Brand     Brand
	Lang      Language
	Other     Language // to switch to
	SwitchURL string   // empty: no switch, because the page answers a POST
	Assets    string
	Script    string // path; empty: none
	RequestID string
}

// T returns a text in the page's language.
func (v view) T(t Text) string { return t.In(v.Lang) }

// Tr returns the text of the language of the page, for the layout's own words.
func (v view) Tr(en, zh string) string { return Text{en, zh}.In(v.Lang) }

// Render answers with a page in the language of the request, with headers that
// keep it from being framed, cached, or made to run or load anything of others.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, page Page) {
	f := page.frame()
	lang := p.site.Language(r)
	v := view{
		Page: page, Kind: f.kind, Title: f.title.In(lang), Brand: f.brand, Lang: lang, Other: Chinese,
		Assets: "/assets/" + p.version, RequestID: audit.RequestID(r.Context()),
	}
	if lang == Chinese {
		v.Other = English
	}
	if v.Brand.Name == "" {
		v.Brand.Name = "Deputy"
	}
	if v.Brand.Logo == "" {
		v.Brand.Logo = v.Assets + "/deputy.svg"
	}
	if f.script {
		v.Script = v.Assets + "/" + f.kind + ".js"
	}
	v.SwitchURL = switchURL(r, f.again, v.Other)
	var b bytes.Buffer
	if err := p.tmpl.Execute(&b, v); err != nil {
		p.log.ErrorContext(r.Context(), "page not rendered", "kind", f.kind, "err", err)
		Headers(w)
		http.Error(w, "Something went wrong inside Deputy.", http.StatusInternalServerError)
		return
	}
	p.site.remember(w, r)
	Headers(w, f.targets...)
	if f.script {
		allowScript(w.Header())
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", string(lang))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a browser that went away is not our error
}

// allowScript lets a page with the usual headers run this site's own files, which
// may ask this site, and nothing else.
func allowScript(h http.Header) {
	h.Set("Content-Security-Policy", h.Get("Content-Security-Policy")+"; script-src 'self'; connect-src 'self'")
}

// switchURL returns where to see the page in another language, or "" if it can
// be had by POST, or once, only.
func switchURL(r *http.Request, again string, other Language) string {
	u := &url.URL{RawQuery: r.URL.RawQuery}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		var err error
		if u, err = url.Parse(again); err != nil || again == "" {
			return ""
		}
	}
	q := u.Query()
	if q.Has("code") {
		return "" // an authorization code is not repeated in a page, and its page not asked for again
	}
	q.Set(languageParam, string(other))
	u.RawQuery = q.Encode()
	return u.String()
}

// Headers sets the security headers of a page, or of a redirect from one.
// targets are addresses outside the site to which a form of the page may lead.
// Browsers hold the whole chain of redirects after a submission against
// form-action, and where a client or a third party sends the browser next is
// not ours to know; so a target admits its scheme, not only its origin. Without
// targets a form leads to the site alone.
func Headers(w http.ResponseWriter, targets ...string) {
	action := "'self'"
	for _, scheme := range []string{"https:", "http:"} {
		if slices.ContainsFunc(targets, func(t string) bool { return strings.HasPrefix(t, scheme) }) {
			action += " " + scheme
		}
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action "+action+
		"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
