package party

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody is the most that a form may have, in bytes.
const maxBody = 64 << 10

// code is an authorization code and what was agreed to with it.
type code struct {
	holder      Holder
	redirectURI string
	challenge   string // S256 code challenge; empty without PKCE (RFC 7636)
	offline     bool   // a refresh token is wanted
	expires     time.Time
}

// token is the token endpoint (RFC 6749, section 3.2). It takes JSON for a form,
// as some vendors do.
func (p *Party) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := parse(r); err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	tokens, problem := p.give(r)
	if problem != 0 {
		p.log.LogAttrs(r.Context(), slog.LevelInfo, "token request refused", slog.Int("problem", int(problem)))
		p.dialect.AnswerProblem(w, r, problem)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	p.dialect.AnswerTokens(w, r, tokens)
}

// parse fills in r.PostForm.
func parse(r *http.Request) error {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		return r.ParseForm()
	}
	var fields map[string]string
	if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
		return err
	}
	r.PostForm = url.Values{}
	for name, value := range fields {
		r.PostForm.Set(name, value)
	}
	return nil
}

func (p *Party) give(r *http.Request) (Tokens, Problem) {
	if !p.ClientProven(r) {
		return Tokens{}, BadClient
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch grant := r.PostForm.Get("grant_type"); {
	case grant == "" || grant == "authorization_code":
		return p.exchange(r)
	case grant == "refresh_token" && p.dialect.RefreshPrefix != "":
		return p.renew(r.PostForm.Get("refresh_token"))
	case grant == "client_credentials" && p.dialect.Machines:
		return p.machine(strings.Fields(r.PostForm.Get("scope")))
	default:
		return Tokens{}, BadGrant
	}
}

// exchange gives tokens for a code (RFC 6749, section 4.1.3), once.
func (p *Party) exchange(r *http.Request) (Tokens, Problem) {
	key := r.PostForm.Get("code")
	c, ok := p.codes.items[key]
	delete(p.codes.items, key) // a code is good for one try
	switch {
	case !ok || !p.now().Before(c.expires) || !fits(c.challenge, r.PostForm.Get("code_verifier")):
		return Tokens{}, BadCode
	case r.PostForm.Get("redirect_uri") != c.redirectURI:
		return Tokens{}, BadRedirect
	}
	return p.issue(c.holder, c.offline), 0
}

// renew gives tokens for a refresh token (RFC 6749, section 6).
func (p *Party) renew(token string) (Tokens, Problem) {
	old, ok := p.refresh.items[token]
	if !ok {
		return Tokens{}, BadRefresh
	}
	if p.dialect.Rotates {
		delete(p.refresh.items, token)
		delete(p.tokens.items, old.access)
	}
	return p.issue(old.Holder, p.dialect.Rotates), 0
}

// machine gives the app a token of its own.
func (p *Party) machine(scopes []string) (Tokens, Problem) {
	for _, scope := range scopes {
		if p.dialect.Scopes[scope] == "" {
			return Tokens{}, BadScope
		}
	}
	return p.issue(Holder{Scopes: scopes}, false), 0
}

func (p *Party) issue(h Holder, renewing bool) Tokens {
	t := Tokens{Access: p.dialect.TokenPrefix + rand.Text(), Life: p.dialect.Life, Holder: h}
	made := live{Holder: h}
	if t.Life > 0 {
		made.expires = p.now().Add(t.Life)
	}
	p.tokens.add(t.Access, made)
	if renewing {
		t.Refresh = p.dialect.RefreshPrefix + rand.Text()
		p.refresh.add(t.Refresh, renewable{h, t.Access})
	}
	return t
}

// ClientProven reports whether r authenticates the app, by Basic or, if its form was parsed, by parameters.
func (p *Party) ClientProven(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	return same(id, p.app.ID) && same(secret, p.app.Secret)
}

func fits(challenge, verifier string) bool {
	if challenge == "" {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return same(base64.RawURLEncoding.EncodeToString(sum[:]), challenge)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
