package feishu

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
)

//go:embed pages
var pageFiles embed.FS

// pages are the parsed templates, each with the layout around it.
type pages struct {
	byName map[string]*template.Template
	style  []byte
}

func loadPages() (*pages, error) {
	p := &pages{byName: make(map[string]*template.Template)}
	for _, name := range []string{"home", "login", "consent", "error"} {
		t, err := template.ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.byName[name] = t
	}
	style, err := pageFiles.ReadFile("pages/style.css")
	p.style = style
	return p, err
}

// contentPolicy allows the one style sheet and nothing else. There is no
// form-action: browsers apply it to every redirect that follows a form, and
// where the app sends people after its redirect URI is the app's business.
const contentPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"

func (s *Sandbox) render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := s.pages.byName[name].ExecuteTemplate(&page, "layout", data); err != nil {
		s.log.Error("page template failed", "page", name, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the app's state
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(page.Bytes()) // an error means that the browser left
}

func (s *Sandbox) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	w.Write(s.pages.style) // an error means that the browser left
}

// consentScope is one line of the consent page.
type consentScope struct {
	Name  string
	Words words
	New   bool // not agreed to before
}

func (s *Sandbox) showConsent(w http.ResponseWriter, req authorizeRequest, user User, session string) {
	s.state.mu.Lock()
	granted := s.state.grants[grantKey{req.app.ID, user.Username}]
	s.state.mu.Unlock()
	scopes := make([]consentScope, 0, len(req.scopes))
	for _, name := range req.scopes {
		scopes = append(scopes, consentScope{name, scopeWords[name], !granted.has(name)})
	}
	s.render(w, http.StatusOK, "consent", map[string]any{
		"App": req.app.Name, "AppID": req.app.ID, "RedirectURI": req.redirectURI, "User": user,
		"Scopes": scopes, "Request": req.query, "CSRF": s.csrfToken("consent", session),
		"Action": consentPath, "Logout": logoutPath,
	})
}

// showError shows a refused authorization. Feishu's page says the number; so does this.
func (s *Sandbox) showError(w http.ResponseWriter, r *http.Request, e *pageError) {
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "authorization refused", slog.Int("code", e.code))
	s.render(w, http.StatusBadRequest, "error", map[string]any{
		"Code": e.code, "Chinese": e.chinese, "English": e.english, "Subject": e.subject, "Fix": e.fix,
	})
}

// home tells a person who opens the bare address where they are.
func (s *Sandbox) home(w http.ResponseWriter, _ *http.Request) {
	type row struct {
		Document
		OwnerName string
	}
	var rows []row
	for _, d := range s.listing {
		if owner := s.users[d.Owner]; owner.Demo {
			rows = append(rows, row{d, owner.Name})
		}
	}
	s.render(w, http.StatusOK, "home", map[string]any{"Documents": rows})
}
