// Package notion is a real small Notion (OAuth, search, pages, blocks).
//
// It is a third party in every respect: it imports nothing of Deputy, and
// speaks HTTP only. What clients trip over is kept: the app proves itself by Basic,
// token requests are JSON, answers have neither lifetime nor scope, a refresh ends
// both tokens, there are no scopes, and the API wants the header Notion-Version.
//
// It is not Notion in that whoever agrees shares all of his pages, and lists have
// one page.
package notion

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
)

// Paths of the endpoints, below the origin of the sandbox; at Notion all are at
// api.notion.com.
const (
	AuthorizePath = "/v1/oauth/authorize"
	TokenPath     = "/v1/oauth/token"
	RevokePath    = "/v1/oauth/revoke"
	MePath        = "/v1/users/me"
	SearchPath    = "/v1/search"
	PagePath      = "/v1/pages/{page}"
	ChildrenPath  = "/v1/blocks/{page}/children"
)

const maxBody = 64 << 10

// Sandbox is one Notion. Its methods are safe for concurrent use.
type Sandbox struct {
	party *party.Party
	pages []page
}

type page struct {
	id, owner, title string
	paragraphs       []string
}

// New returns the Notion of c's people, each of whom has a page of notes and one of
// goals.
func New(c party.Config) (*Sandbox, error) {
	p, err := party.New(party.Dialect{
		Vendor: "Notion", AuthorizePath: AuthorizePath, TokenPath: TokenPath, TokenPrefix: "ntn_", RefreshPrefix: "nrt_", CodeLifetime: 10 * time.Minute, Rotates: true,
		AnswerTokens: answerTokens, AnswerProblem: answerProblem,
	}, c)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{party: p}
	for _, u := range c.Users {
		for title, text := range map[string][]string{
			"Meeting notes": {"Decided: the new warehouse opens in May.", "Open: who trains the night shift? Asked by " + u.Name + "."},
			"Goals":         {"Fewer steps for customers.", "One page that says it all."},
		} {
			s.pages = append(s.pages, page{uuid(u.Username + "/" + title), u.Username, title, text})
		}
	}
	return s, nil
}

// uuid makes an id that stays the same from run to run.
func uuid(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%x-%x-4%x-a%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])[:36]
}

// Handler serves Notion's paths and the pages that a person sees.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	s.party.Mount(mux)
	mux.HandleFunc("POST "+RevokePath, s.revoke)
	mux.HandleFunc("GET "+MePath, s.as(s.me))
	mux.HandleFunc("POST "+SearchPath, s.as(s.search))
	mux.HandleFunc("GET "+PagePath, s.as(s.page))
	mux.HandleFunc("GET "+ChildrenPath, s.as(s.children))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "invalid_request_url", "Invalid request URL.")
	})
	return mux
}

// Expire ends the access tokens that there are; refresh tokens stay good.
func (s *Sandbox) Expire() { s.party.Expire() }

func owner(u party.User) map[string]any {
	return map[string]any{"type": "user", "user": map[string]any{
		"object": "user", "id": uuid(u.Username), "name": u.Name, "type": "person", "person": map[string]string{"email": u.Email},
	}}
}

func answerTokens(w http.ResponseWriter, _ *http.Request, t party.Tokens) {
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": t.Access, "refresh_token": t.Refresh, "token_type": "bearer", "bot_id": uuid("bot/" + t.User.Username), "workspace_id": uuid("workspace"),
		"workspace_name": "Sandbox", "workspace_icon": nil, "duplicated_template_id": nil, "owner": owner(t.User), "request_id": uuid(t.Access),
	})
}

func answerProblem(w http.ResponseWriter, _ *http.Request, p party.Problem) {
	status, code, words := http.StatusBadRequest, "invalid_grant", "Invalid code: this code has expired, or was used."
	switch p {
	case party.BadClient:
		status, code, words = http.StatusUnauthorized, "invalid_client", "Invalid client credentials."
	case party.BadGrant:
		code, words = "unsupported_grant_type", "Invalid grant_type."
	case party.BadRefresh:
		words = "Invalid refresh token."
	}
	writeJSON(w, status, map[string]string{"error": code, "error_description": words})
}

func (s *Sandbox) revoke(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Token string }
	if !s.party.ClientProven(r) {
		refuse(w, http.StatusUnauthorized, "unauthorized", "Invalid client credentials.")
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil || !s.party.Revoke(asked.Token) {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "Invalid token."})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"request_id": uuid(asked.Token)})
}

// as lets in who brings an access token and says which version he speaks.
func (s *Sandbox) as(next func(http.ResponseWriter, *http.Request, party.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		access, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		h, ok := s.party.Holder(access)
		switch {
		case !ok:
			refuse(w, http.StatusUnauthorized, "unauthorized", "API token is invalid.")
		case r.Header.Get("Notion-Version") == "":
			refuse(w, http.StatusBadRequest, "missing_version", "Notion-Version header failed validation: Notion-Version header should be defined, instead was `undefined`.")
		default:
			next(w, r, h)
		}
	}
}

func (s *Sandbox) me(w http.ResponseWriter, _ *http.Request, h party.Holder) {
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "user", "id": uuid("bot/" + h.User.Username), "name": "Deputy", "type": "bot", "bot": map[string]any{"owner": owner(h.User), "workspace_name": "Sandbox"},
	})
}

// text is a rich text as Notion has it, with what clients read of it.
func text(s string) []map[string]any {
	return []map[string]any{{"type": "text", "text": map[string]any{"content": s, "link": nil}, "plain_text": s}}
}

func (p page) object() map[string]any {
	return map[string]any{
		"object": "page", "id": p.id, "archived": false, "url": "https://www.notion.so/" + strings.ReplaceAll(p.id, "-", ""),
		"properties": map[string]any{"title": map[string]any{"id": "title", "type": "title", "title": text(p.title)}},
	}
}

func list(results []map[string]any) map[string]any {
	return map[string]any{"object": "list", "results": results, "has_more": false, "next_cursor": nil}
}

func (s *Sandbox) search(w http.ResponseWriter, r *http.Request, h party.Holder) {
	var asked struct{ Query string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_json", "Error parsing JSON body.")
		return
	}
	found := []map[string]any{}
	for _, p := range s.pages {
		if p.owner == h.User.Username && strings.Contains(strings.ToLower(p.title), strings.ToLower(asked.Query)) {
			found = append(found, p.object())
		}
	}
	writeJSON(w, http.StatusOK, list(found))
}

// shared returns the page of the path if h's user shares it, or answers 404.
func (s *Sandbox) shared(w http.ResponseWriter, r *http.Request, h party.Holder) (page, bool) {
	id := r.PathValue("page")
	for _, p := range s.pages {
		if p.owner == h.User.Username && (p.id == id || strings.ReplaceAll(p.id, "-", "") == id) {
			return p, true
		}
	}
	refuse(w, http.StatusNotFound, "object_not_found", "Could not find page with ID: "+id+". Make sure the relevant pages and databases are shared with your integration.")
	return page{}, false
}

func (s *Sandbox) page(w http.ResponseWriter, r *http.Request, h party.Holder) {
	if p, ok := s.shared(w, r, h); ok {
		writeJSON(w, http.StatusOK, p.object())
	}
}

func (s *Sandbox) children(w http.ResponseWriter, r *http.Request, h party.Holder) {
	p, ok := s.shared(w, r, h)
	if !ok {
		return
	}
	var blocks []map[string]any
	for i, paragraph := range p.paragraphs {
		blocks = append(blocks, map[string]any{"object": "block", "id": uuid(fmt.Sprint(p.id, i)), "type": "paragraph", "has_children": false, "paragraph": map[string]any{"rich_text": text(paragraph)}})
	}
	writeJSON(w, http.StatusOK, list(blocks))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the caller left
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"object": "error", "status": status, "code": code, "message": message})
}
