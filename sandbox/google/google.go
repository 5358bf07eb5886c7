// Package google is a real small Google (OAuth, Calendar).
//
// It is a third party in every respect: it imports nothing of Deputy, and
// speaks HTTP only. What clients trip over is kept: there is a refresh token only
// with access_type=offline, it does not rotate, and answers to it have none; with
// include_granted_scopes, a token has all that the user ever agreed to.
//
// It is not Google in that there is one calendar for each user and lists have one page.
package google

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
)

// Paths of the endpoints, below the origin of the sandbox. At Google the first is at
// accounts.google.com, the next two at oauth2.googleapis.com, then
// openidconnect.googleapis.com, and the API at www.googleapis.com.
const (
	AuthorizePath = "/o/oauth2/v2/auth"
	TokenPath     = "/token"
	RevokePath    = "/revoke"
	UserInfoPath  = "/v1/userinfo"
	EventsPath    = "/calendar/v3/calendars/{calendar}/events"
)

// The scopes that there are.
const (
	ReadCalendars = "https://www.googleapis.com/auth/calendar.readonly"
	WriteEvents   = "https://www.googleapis.com/auth/calendar.events"
)

const (
	maxBody   = 64 << 10
	maxEvents = 1000 // of one user
)

// Sandbox is one Google. Its methods are safe for concurrent use.
type Sandbox struct {
	party *party.Party
	now   func() time.Time

	mu     sync.Mutex
	events map[string][]event // by user name, in order of their begin
}

// when is a point in time as calendars have it.
type when struct {
	DateTime time.Time `json:"dateTime"`
}

type attendee struct {
	Email string `json:"email"`
}

type event struct {
	Kind    string   `json:"kind"`
	ID      string   `json:"id"`
	Status  string   `json:"status"`
	Summary string   `json:"summary"`
	Start   when     `json:"start"`
	End     when     `json:"end"`
	Creator attendee `json:"creator"`
}

// New returns the Google of c's people, each of whom has two events today.
func New(c party.Config) (*Sandbox, error) {
	p, err := party.New(party.Dialect{
		Vendor: "Google", AuthorizePath: AuthorizePath, TokenPath: TokenPath, TokenPrefix: "ya29.", RefreshPrefix: "1//", CodeLifetime: 10 * time.Minute, Life: time.Hour,
		Scopes: map[string]string{
			ReadCalendars: "查看日历 See your calendars",
			WriteEvents:   "查看和修改日程 See and change events",
			"openid":      "识别你的身份 Know who you are",
			"email":       "查看邮箱 See your e-mail address",
			"profile":     "查看个人资料 See your profile",
		},
		Offline:      func(q url.Values) bool { return q.Get("access_type") == "offline" },
		Cumulative:   func(q url.Values) bool { return q.Get("include_granted_scopes") == "true" },
		AnswerTokens: answerTokens, AnswerProblem: answerProblem,
	}, c)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{party: p, now: c.Now, events: map[string][]event{}}
	if s.now == nil {
		s.now = time.Now
	}
	morning := s.now().UTC().Truncate(24 * time.Hour).Add(9 * time.Hour)
	for _, u := range c.Users {
		s.add(u, "Stand-up of the team of "+u.Name, morning, morning.Add(15*time.Minute))
		s.add(u, "Review with "+u.Name, morning.Add(5*time.Hour), morning.Add(6*time.Hour))
	}
	return s, nil
}

// Handler serves Google's paths and the pages that a person sees.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	s.party.Mount(mux)
	mux.HandleFunc("POST "+RevokePath, s.revoke)
	mux.HandleFunc("GET "+UserInfoPath, s.as(nil, s.userInfo))
	mux.HandleFunc("GET "+EventsPath, s.as([]string{ReadCalendars, WriteEvents}, s.list))
	mux.HandleFunc("POST "+EventsPath, s.as([]string{WriteEvents}, s.insert))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "NOT_FOUND", "Not Found") })
	return mux
}

// Expire ends the access tokens that there are; refresh tokens stay good.
func (s *Sandbox) Expire() { s.party.Expire() }

func answerTokens(w http.ResponseWriter, _ *http.Request, t party.Tokens) {
	fields := map[string]any{"access_token": t.Access, "expires_in": int(t.Life.Seconds()), "scope": strings.Join(t.Scopes, " "), "token_type": "Bearer"}
	if t.Refresh != "" {
		fields["refresh_token"] = t.Refresh
	}
	writeJSON(w, http.StatusOK, fields)
}

func answerProblem(w http.ResponseWriter, _ *http.Request, p party.Problem) {
	words := map[party.Problem][2]string{
		party.BadClient:   {"invalid_client", "The provided client secret is invalid."},
		party.BadCode:     {"invalid_grant", "Bad Request"},
		party.BadRedirect: {"redirect_uri_mismatch", "Bad Request"},
		party.BadGrant:    {"unsupported_grant_type", "Invalid grant_type"},
		party.BadRefresh:  {"invalid_grant", "Token has been expired or revoked."},
	}[p]
	status := http.StatusBadRequest
	if p == party.BadClient {
		status = http.StatusUnauthorized
	}
	writeJSON(w, status, map[string]string{"error": words[0], "error_description": words[1]})
}

// revoke ends a token, and with it all that the user has agreed to.
func (s *Sandbox) revoke(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	token := r.FormValue("token")
	h, ok := s.party.Owner(token)
	if !ok {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_token", "error_description": "Token expired or revoked"})
		return
	}
	s.party.RevokeUser(h.User.Username)
	writeJSON(w, http.StatusOK, struct{}{})
}

// as lets in who brings an access token with one of scopes; nil: with any.
func (s *Sandbox) as(scopes []string, next func(http.ResponseWriter, *http.Request, party.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		access, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		h, ok := s.party.Holder(access)
		switch {
		case !ok:
			refuse(w, http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
		case scopes != nil && !slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(h.Scopes, scope) }):
			refuse(w, http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
		default:
			next(w, r, h)
		}
	}
}

func (s *Sandbox) userInfo(w http.ResponseWriter, _ *http.Request, h party.Holder) {
	fields := map[string]any{"sub": "10" + fmt.Sprintf("%x", h.User.Username)}
	if slices.Contains(h.Scopes, "profile") {
		fields["name"] = h.User.Name
	}
	if slices.Contains(h.Scopes, "email") {
		fields["email"], fields["email_verified"] = h.User.Email, true
	}
	writeJSON(w, http.StatusOK, fields)
}

// own reports whether the path is about the caller's own calendar, or answers.
func own(w http.ResponseWriter, r *http.Request, h party.Holder) bool {
	if c := r.PathValue("calendar"); c != "primary" && c != h.User.Email {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "Not Found")
		return false
	}
	return true
}

func (s *Sandbox) list(w http.ResponseWriter, r *http.Request, h party.Holder) {
	if !own(w, r, h) {
		return
	}
	from, to := time.Time{}, time.Time{}
	for name, into := range map[string]*time.Time{"timeMin": &from, "timeMax": &to} {
		if text := r.URL.Query().Get(name); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Bad Request")
				return
			}
			*into = t
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []event{}
	for _, e := range s.events[h.User.Username] {
		if (from.IsZero() || e.End.DateTime.After(from)) && (to.IsZero() || e.Start.DateTime.Before(to)) {
			items = append(items, e)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"kind": "calendar#events", "summary": h.User.Email, "timeZone": "UTC", "items": items})
}

func (s *Sandbox) insert(w http.ResponseWriter, r *http.Request, h party.Holder) {
	if !own(w, r, h) {
		return
	}
	var asked event
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil || asked.Start.DateTime.IsZero() || !asked.End.DateTime.After(asked.Start.DateTime) {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "The specified time range is empty.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events[h.User.Username]) >= maxEvents {
		refuse(w, http.StatusForbidden, "RESOURCE_EXHAUSTED", "Calendar usage limits exceeded.")
		return
	}
	writeJSON(w, http.StatusOK, s.add(h.User, asked.Summary, asked.Start.DateTime, asked.End.DateTime))
}

func (s *Sandbox) add(u party.User, summary string, start, end time.Time) event {
	e := event{"calendar#event", strings.ToLower(rand.Text()), "confirmed", summary, when{start}, when{end}, attendee{u.Email}}
	all := append(s.events[u.Username], e)
	slices.SortStableFunc(all, func(a, b event) int { return a.Start.DateTime.Compare(b.Start.DateTime) })
	s.events[u.Username] = all
	return e
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the caller left
}

func refuse(w http.ResponseWriter, code int, status, message string) {
	writeJSON(w, code, map[string]any{"error": map[string]any{"code": code, "message": message, "status": status}})
}
