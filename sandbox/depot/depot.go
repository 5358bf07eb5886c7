// Package depot is a small warehouse whose stock is for machines: its tokens are those of an app itself (OAuth 2.0 client credentials), and of nobody.
//
// It is a third party in every respect: it imports nothing of Deputy, and speaks
// HTTP only.
package depot

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
)

// Paths of the endpoints, below the origin of the sandbox.
const (
	TokenPath = "/oauth/token"
	StockPath = "/v1/stock/{item}"
)

// ReadStock is the scope that reading takes.
const ReadStock = "stock.read"

// Sandbox is one warehouse. Its methods are safe for concurrent use.
type Sandbox struct {
	party *party.Party
	stock map[string]int
}

// New returns a warehouse for c's app; people have no accounts there.
func New(c party.Config) (*Sandbox, error) {
	c.Users = nil
	p, err := party.New(party.Dialect{
		Vendor: "Depot", AuthorizePath: "/oauth/authorize", TokenPath: TokenPath, TokenPrefix: "depot_", Life: time.Hour, Machines: true,
		Scopes:       map[string]string{ReadStock: "查看库存 See the stock"},
		AnswerTokens: answerTokens, AnswerProblem: answerProblem,
	}, c)
	if err != nil {
		return nil, err
	}
	return &Sandbox{p, map[string]int{"bolts": 1200, "nuts": 800, "washers": 0}}, nil
}

// Handler serves the warehouse's paths.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	s.party.Mount(mux)
	mux.HandleFunc("GET "+StockPath, s.item)
	return mux
}

// Expire ends the access tokens that there are.
func (s *Sandbox) Expire() { s.party.Expire() }

func answerTokens(w http.ResponseWriter, _ *http.Request, t party.Tokens) {
	writeJSON(w, http.StatusOK, map[string]any{"access_token": t.Access, "token_type": "Bearer", "expires_in": int(t.Life.Seconds()), "scope": strings.Join(t.Scopes, " ")})
}

func answerProblem(w http.ResponseWriter, _ *http.Request, p party.Problem) {
	switch p {
	case party.BadClient:
		w.Header().Set("WWW-Authenticate", `Basic realm="depot"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	case party.BadScope:
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_scope"})
	case party.BadGrant:
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
	default:
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
	}
}

func (s *Sandbox) item(w http.ResponseWriter, r *http.Request) {
	access, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	h, ok := s.party.Holder(access)
	switch n, known := s.stock[r.PathValue("item")]; {
	case !ok:
		w.Header().Set("WWW-Authenticate", `Bearer realm="depot", error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
	case !slices.Contains(h.Scopes, ReadStock):
		w.Header().Set("WWW-Authenticate", `Bearer realm="depot", error="insufficient_scope"`)
		writeJSON(w, http.StatusForbidden, map[string]string{"error": "insufficient_scope"})
	case !known:
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "not_found"})
	default:
		writeJSON(w, http.StatusOK, map[string]any{"item": r.PathValue("item"), "available": n})
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the caller left
}
