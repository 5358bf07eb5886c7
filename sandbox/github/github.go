// Package github is a real small GitHub (OAuth app, repositories, issues).
//
// It is a third party in every respect: it imports nothing of Deputy, and
// speaks HTTP only. What clients trip over is kept: the token endpoint refuses
// with status 200, answers a form unless JSON is asked for, and separates scopes
// by commas; a repository that may not be seen is 404 and not 403.
//
// It is not GitHub in that tokens are those of an OAuth app only (they do not
// expire), lists have one page, and there are no organizations.
package github

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
)

// Paths of the endpoints, below the origin of the sandbox. At GitHub the first
// two live at github.com, the others at api.github.com.
const (
	AuthorizePath = "/login/oauth/authorize"
	TokenPath     = "/login/oauth/access_token"
	UserPath      = "/user"
	ReposPath     = "/user/repos"
	IssuesPath    = "/repos/{owner}/{repo}/issues"
	RevokePath    = "/applications/{client_id}/token"
	ForgetPath    = "/applications/{client_id}/grant"
)

const (
	maxBody   = 64 << 10
	maxIssues = 1000 // of one repository
)

// Sandbox is one GitHub. Its methods are safe for concurrent use.
type Sandbox struct {
	party *party.Party
	ids   map[string]int64 // of accounts

	mu    sync.Mutex
	repos []*repo
}

type repo struct {
	id      int64
	owner   string
	name    string
	private bool
	issues  []issue // oldest first
}

// New returns the GitHub of c's people: each has the repository "notes", which
// is private, and "website", with one issue.
func New(c party.Config) (*Sandbox, error) {
	p, err := party.New(party.Dialect{
		Vendor: "GitHub", AuthorizePath: AuthorizePath, TokenPath: TokenPath, TokenPrefix: "gho_", CodeLifetime: 10 * time.Minute,
		Scopes: map[string]string{
			"repo":        "读写所有仓库 Read and write all repositories",
			"public_repo": "读写公开仓库 Read and write public repositories",
			"read:user":   "读取个人资料 Read your profile",
			"user:email":  "读取邮箱 Read your e-mail address",
		},
		AnswerTokens: answerTokens, AnswerProblem: answerProblem,
	}, c)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{party: p, ids: map[string]int64{}}
	for i, u := range c.Users {
		s.ids[u.Username] = int64(1000 + i)
		id := int64(2*i + 1)
		s.repos = append(s.repos, &repo{id: id, owner: u.Username, name: "notes", private: true},
			&repo{id: id + 1, owner: u.Username, name: "website", issues: []issue{
				{Number: 1, Title: "The start page is slow", State: "open", User: s.of(u.Username)}}})
	}
	return s, nil
}

// Handler serves GitHub's paths and the pages that a person sees.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	s.party.Mount(mux)
	mux.HandleFunc("GET "+UserPath, s.asUser(s.user))
	mux.HandleFunc("GET "+ReposPath, s.asUser(s.listRepos))
	mux.HandleFunc("GET "+IssuesPath, s.asUser(s.listIssues))
	mux.HandleFunc("POST "+IssuesPath, s.asUser(s.addIssue))
	mux.HandleFunc("DELETE "+RevokePath, s.asApp(func(access string, _ party.Holder) { s.party.Revoke(access) }))
	mux.HandleFunc("DELETE "+ForgetPath, s.asApp(func(_ string, h party.Holder) { s.party.RevokeUser(h.User.Username) }))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "Not Found") })
	return mux
}

func answerTokens(w http.ResponseWriter, r *http.Request, t party.Tokens) {
	answer(w, r, url.Values{"access_token": {t.Access}, "scope": {strings.Join(t.Scopes, ",")}, "token_type": {"bearer"}})
}

// answerProblem says with status 200 what is wrong, as GitHub does.
func answerProblem(w http.ResponseWriter, r *http.Request, p party.Problem) {
	words := map[party.Problem][2]string{
		party.BadClient:   {"incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect."},
		party.BadCode:     {"bad_verification_code", "The code passed is incorrect or expired."},
		party.BadRedirect: {"redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application."},
		party.BadGrant:    {"unsupported_grant_type", "The grant type is not supported."},
	}[p]
	answer(w, r, url.Values{"error": {words[0]}, "error_description": {words[1]}})
}

// answer writes JSON to who asks for it, and a form to everybody else.
func answer(w http.ResponseWriter, r *http.Request, fields url.Values) {
	if !strings.Contains(r.Header.Get("Accept"), "json") {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		w.Write([]byte(fields.Encode())) // an error means that the caller left
		return
	}
	flat := make(map[string]string, len(fields))
	for name := range fields {
		flat[name] = fields.Get(name)
	}
	writeJSON(w, http.StatusOK, flat)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the caller left
}

func refuse(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

// asUser lets in who brings an access token, as "Bearer" or, as of old, "token".
func (s *Sandbox) asUser(next func(http.ResponseWriter, *http.Request, party.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		h, ok := s.party.Holder(access)
		if !ok || !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
			refuse(w, http.StatusUnauthorized, "Bad credentials")
			return
		}
		w.Header().Set("X-OAuth-Scopes", strings.Join(h.Scopes, ", "))
		next(w, r, h)
	}
}

// asApp lets the app, by Basic, name an access token that is to end.
func (s *Sandbox) asApp(end func(access string, h party.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := r.BasicAuth()
		if !s.party.ClientProven(r) || id != r.PathValue("client_id") {
			refuse(w, http.StatusNotFound, "Not Found")
			return
		}
		var body struct {
			AccessToken string `json:"access_token"`
		}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body)
		h, ok := s.party.Holder(body.AccessToken)
		if err != nil || !ok {
			refuse(w, http.StatusUnprocessableEntity, "Validation Failed")
			return
		}
		end(body.AccessToken, h)
		w.WriteHeader(http.StatusNoContent)
	}
}

// sees reports whether h may read r: what is private takes the scope repo.
func sees(h party.Holder, r *repo) bool {
	return !r.private || r.owner == h.User.Username && slices.Contains(h.Scopes, "repo")
}
