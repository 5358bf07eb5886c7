package party

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"net/http"
	"time"
)

// maxBody is the most that a form may have, in bytes.
const maxBody = 64 << 10

// code is an authorization code and what was agreed to with it.
type code struct {
	holder      Holder
	redirectURI string
	challenge   string // S256 code challenge; empty without PKCE (RFC 7636)
	expires     time.Time
}

// token exchanges a code (RFC 6749 section 4.1.3), once.
func (p *Party) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	tokens, problem := p.exchange(r)
	if problem != 0 {
		p.log.LogAttrs(r.Context(), slog.LevelInfo, "token request refused", slog.Int("problem", int(problem)))
		p.dialect.AnswerProblem(w, r, problem)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	p.dialect.AnswerTokens(w, r, tokens)
}

func (p *Party) exchange(r *http.Request) (Tokens, Problem) {
	if !p.ClientProven(r) {
		return Tokens{}, BadClient
	}
	if grant := r.PostForm.Get("grant_type"); grant != "" && grant != "authorization_code" {
		return Tokens{}, BadGrant
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.PostForm.Get("code")
	c, ok := p.codes.items[key]
	delete(p.codes.items, key) // a code is good for one try
	switch {
	case !ok || !p.now().Before(c.expires) || !fits(c.challenge, r.PostForm.Get("code_verifier")):
		return Tokens{}, BadCode
	case r.PostForm.Get("redirect_uri") != c.redirectURI:
		return Tokens{}, BadRedirect
	}
	access := p.dialect.TokenPrefix + rand.Text()
	p.tokens.add(access, c.holder)
	return Tokens{Access: access, Scopes: c.holder.Scopes}, 0
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
