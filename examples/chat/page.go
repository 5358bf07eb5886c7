package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed ui
var ui embed.FS

// languages are the page's, the first is the fallback.
var languages = [...]string{"en", "zh"}

// page renders the one page and serves its files.
type page struct {
	set     settings
	words   map[string]map[string]string // language, key, text
	html    *template.Template
	version map[string]string // file, hash of its content
}

// view is what differs from request to request.
type view struct {
	Lang     string
	Notice   string // code of a message; unknown ones show nothing
	LoggedIn bool
	Name     string
}

func newPage(set settings) (*page, error) {
	p := &page{set: set, version: map[string]string{}}
	text, err := ui.ReadFile("ui/words.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &p.words); err != nil {
		return nil, fmt.Errorf("ui/words.json: %w", err)
	}
	for _, words := range p.words {
		for key, text := range words {
			words[key] = strings.ReplaceAll(text, "{agent}", set.agentName)
		}
	}
	files, err := ui.ReadDir("ui")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		content, err := ui.ReadFile("ui/" + f.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		p.version[f.Name()] = hex.EncodeToString(sum[:8])
	}
	p.html, err = template.ParseFS(ui, "ui/page.html")
	return p, err
}

// render writes the page. It is complete for its language and login before any
// script runs, and carries both languages, so that switching keeps the chat.
func (p *page) render(w http.ResponseWriter, v view) error {
	words := p.words[v.Lang]
	var b bytes.Buffer
	err := p.html.Execute(&b, map[string]any{
		"View": v, "T": words, "Agent": p.set.agentName, "Examples": p.set.examples,
		"Notice": words["error."+v.Notice],
		"Data":   map[string]any{"lang": v.Lang, "words": p.words, "agent": p.set.agentName},
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", v.Lang)
	w.Header().Set("Vary", "Accept-Language, Cookie")
	_, _ = b.WriteTo(w) // the browser is gone if this fails
	return nil
}

// static serves the page's own files; the browser keeps them as long as they
// do not change.
func (p *page) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kind := map[string]string{".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}[path.Ext(name)]
	version, ok := p.version[name]
	if !ok || kind == "" {
		http.NotFound(w, r)
		return
	}
	content, err := ui.ReadFile("ui/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", strconv.Quote(version))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

// chooseLanguage follows the choice that the page remembered, else what the
// browser asks for (RFC 9110 section 12.5.4).
func chooseLanguage(r *http.Request) string {
	if c, err := r.Cookie(langCookie); err == nil {
		if lang := matchLanguage(c.Value); lang != "" {
			return lang
		}
	}
	best, quality := languages[0], 0.0
	for _, wish := range strings.SplitN(r.Header.Get("Accept-Language"), ",", 32) {
		tag, param, _ := strings.Cut(wish, ";")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
			q, _ = strconv.ParseFloat(value, 64)
		}
		if lang := matchLanguage(strings.TrimSpace(tag)); lang != "" && q > quality {
			best, quality = lang, q
		}
	}
	return best
}

// matchLanguage returns the page's language for a language tag, or "".
func matchLanguage(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	for _, lang := range languages {
		if primary == lang {
			return lang
		}
	}
	return ""
}
