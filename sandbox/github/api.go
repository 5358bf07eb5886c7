package github

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/sandbox/party"
)

type account struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"`
}

// of is the account of a user.
func (s *Sandbox) of(username string) account { return account{s.ids[username], username, "User"} }

type issue struct {
	Number int     `json:"number"`
	Title  string  `json:"title"`
	Body   string  `json:"body"`
	State  string  `json:"state"`
	User   account `json:"user"`
}

type repository struct {
	ID       int64   `json:"id"`
	Name     string  `json:"name"`
	FullName string  `json:"full_name"`
	Private  bool    `json:"private"`
	Owner    account `json:"owner"`
}

func (s *Sandbox) user(w http.ResponseWriter, _ *http.Request, h party.Holder) {
	type profile struct {
		account
		Name  string  `json:"name"`
		Email *string `json:"email"` // null without a scope that shows it
	}
	p := profile{account: s.of(h.User.Username), Name: h.User.Name}
	if slices.Contains(h.Scopes, "user:email") {
		p.Email = &h.User.Email
	}
	writeJSON(w, http.StatusOK, p)
}

func (s *Sandbox) listRepos(w http.ResponseWriter, _ *http.Request, h party.Holder) {
	list := []repository{}
	for _, r := range s.repos {
		if r.owner == h.User.Username && sees(h, r) {
			list = append(list, repository{r.id, r.name, r.owner + "/" + r.name, r.private, s.of(r.owner)})
		}
	}
	writeJSON(w, http.StatusOK, list)
}

// seen returns the repository of the path if h may read it, or answers 404.
func (s *Sandbox) seen(w http.ResponseWriter, r *http.Request, h party.Holder) (*repo, bool) {
	for _, found := range s.repos {
		if found.owner == r.PathValue("owner") && found.name == r.PathValue("repo") && sees(h, found) {
			return found, true
		}
	}
	refuse(w, http.StatusNotFound, "Not Found")
	return nil, false
}

// listIssues answers the newest first, as GitHub does.
func (s *Sandbox) listIssues(w http.ResponseWriter, r *http.Request, h party.Holder) {
	found, ok := s.seen(w, r, h)
	if !ok {
		return
	}
	s.mu.Lock()
	list := append([]issue{}, found.issues...)
	s.mu.Unlock()
	slices.Reverse(list)
	writeJSON(w, http.StatusOK, list)
}

// addIssue takes a scope that may write: without one the repository is not found.
func (s *Sandbox) addIssue(w http.ResponseWriter, r *http.Request, h party.Holder) {
	found, ok := s.seen(w, r, h)
	if !ok {
		return
	}
	if !slices.Contains(h.Scopes, "repo") && !slices.Contains(h.Scopes, "public_repo") {
		refuse(w, http.StatusNotFound, "Not Found")
		return
	}
	var asked struct{ Title, Body string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked.Title == "" || len(found.issues) >= maxIssues {
		refuse(w, http.StatusUnprocessableEntity, "Validation Failed")
		return
	}
	added := issue{Number: len(found.issues) + 1, Title: asked.Title, Body: asked.Body, State: "open", User: s.of(h.User.Username)}
	found.issues = append(found.issues, added)
	writeJSON(w, http.StatusCreated, added)
}
