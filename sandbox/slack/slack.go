// Package slack is a real small Slack (OAuth for users, channels, messages).
//
// It is a third party in every respect: it imports nothing of Deputy, and
// speaks HTTP only. What clients trip over is kept: every answer has status 200 and
// says in "ok" whether it is one, users' scopes are asked for in user_scope and
// separated by commas, and a user's tokens are in authed_user.
//
// It is not Slack in that there are no bots, one workspace, and lists have one page.
package slack

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
)

// Paths of the endpoints, below the origin of the sandbox; at Slack all are at
// slack.com. Those of the API follow APIPath.
const (
	AuthorizePath = "/oauth/v2/authorize"
	APIPath       = "/api"
	TokenPath     = APIPath + "/oauth.v2.access"
)

const (
	maxBody     = 64 << 10
	maxMessages = 1000 // of one channel
)

// Sandbox is one Slack. Its methods are safe for concurrent use.
type Sandbox struct {
	party *party.Party
	app   string
	now   func() time.Time

	mu       sync.Mutex
	channels []*channel
	last     int64 // ts of the last message, in µs
}

type channel struct {
	id, name string
	messages []message // oldest first
}

type message struct {
	Type string `json:"type"`
	User string `json:"user"`
	Text string `json:"text"`
	TS   string `json:"ts"`
}

// New returns the Slack of c's people, with the channels general and random.
func New(c party.Config) (*Sandbox, error) {
	s := &Sandbox{app: c.App.ID, now: c.Now, channels: []*channel{{id: "C0GENERAL", name: "general"}, {id: "C0RANDOM", name: "random"}}}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	s.party, err = party.New(party.Dialect{
		Vendor: "Slack", AuthorizePath: AuthorizePath, TokenPath: TokenPath, TokenPrefix: "xoxp-", CodeLifetime: 10 * time.Minute, ScopeParam: "user_scope",
		Scopes: map[string]string{
			"channels:read":    "查看公开频道 See public channels",
			"channels:history": "查看公开频道的消息 See messages of public channels",
			"chat:write":       "以你的名义发送消息 Send messages as you",
			"users:read":       "查看成员 See people",
		},
		AnswerTokens: s.answerTokens, AnswerProblem: answerProblem,
	}, c)
	if err != nil {
		return nil, err
	}
	for _, u := range c.Users {
		s.post(s.channels[0], u, u.Name+" joined.")
	}
	return s, nil
}

// Handler serves Slack's paths and the pages that a person sees.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	s.party.Mount(mux)
	for method, m := range map[string]struct {
		scope string
		serve func(http.ResponseWriter, map[string]string, party.Holder)
	}{
		"auth.test": {"", s.test}, "conversations.list": {"channels:read", s.list}, "conversations.history": {"channels:history", s.history}, "chat.postMessage": {"chat:write", s.write},
	} {
		mux.HandleFunc(APIPath+"/"+method, s.as(m.scope, m.serve))
	}
	mux.HandleFunc(APIPath+"/auth.revoke", s.revoke)
	mux.HandleFunc(APIPath+"/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, "unknown_method") })
	return mux
}

func userID(u party.User) string { return "U" + strings.ToUpper(u.Username) }

func (s *Sandbox) answerTokens(w http.ResponseWriter, _ *http.Request, t party.Tokens) {
	writeJSON(w, map[string]any{
		"ok": true, "app_id": s.app, "team": map[string]string{"id": "T0SANDBOX", "name": "Sandbox"}, "enterprise": nil, "is_enterprise_install": false,
		"authed_user": map[string]any{"id": userID(t.User), "scope": strings.Join(t.Scopes, ","), "access_token": t.Access, "token_type": "user"},
	})
}

func answerProblem(w http.ResponseWriter, _ *http.Request, p party.Problem) {
	refuse(w, map[party.Problem]string{
		party.BadClient: "bad_client_secret", party.BadCode: "invalid_code", party.BadRedirect: "bad_redirect_uri", party.BadGrant: "invalid_grant_type", party.BadRefresh: "invalid_refresh_token",
	}[p])
}

// token returns a request's access token, from the header or, as of old, the form.
func token(r *http.Request) string {
	if access, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return access
	}
	return r.PostFormValue("token")
}

func (s *Sandbox) revoke(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if !s.party.Revoke(token(r)) {
		refuse(w, "invalid_auth")
		return
	}
	writeJSON(w, map[string]any{"ok": true, "revoked": true})
}

// as lets in who brings an access token with a scope; "" stands for any. Arguments
// come as a query, a form or JSON.
func (s *Sandbox) as(scope string, next func(http.ResponseWriter, map[string]string, party.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		arguments, err := arguments(r)
		h, ok := s.party.Holder(token(r))
		switch {
		case err != nil:
			refuse(w, "invalid_json")
		case !ok:
			refuse(w, "invalid_auth")
		case scope != "" && !slices.Contains(h.Scopes, scope):
			writeJSON(w, map[string]any{"ok": false, "error": "missing_scope", "needed": scope, "provided": strings.Join(h.Scopes, ",")})
		default:
			w.Header().Set("X-OAuth-Scopes", strings.Join(h.Scopes, ","))
			next(w, arguments, h)
		}
	}
}

func arguments(r *http.Request) (map[string]string, error) {
	given := map[string]string{}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/json" && r.Method == http.MethodPost {
		var fields map[string]any
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
			return nil, err
		}
		for name, value := range fields {
			given[name] = fmt.Sprint(value)
		}
		return given, nil
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	for name := range r.Form {
		given[name] = r.Form.Get(name)
	}
	return given, nil
}

func (s *Sandbox) test(w http.ResponseWriter, _ map[string]string, h party.Holder) {
	writeJSON(w, map[string]any{"ok": true, "url": "https://sandbox.slack.com/", "team": "Sandbox", "team_id": "T0SANDBOX", "user": h.User.Username, "user_id": userID(h.User)})
}

func (s *Sandbox) list(w http.ResponseWriter, _ map[string]string, _ party.Holder) {
	var all []map[string]any
	for _, c := range s.channels {
		all = append(all, map[string]any{"id": c.id, "name": c.name, "is_channel": true, "is_private": false, "is_archived": false})
	}
	writeJSON(w, map[string]any{"ok": true, "channels": all, "response_metadata": map[string]string{"next_cursor": ""}})
}

// channel returns that of an argument, which is an id or a name, or answers.
func (s *Sandbox) channel(w http.ResponseWriter, named string) *channel {
	for _, c := range s.channels {
		if c.id == named || "#"+c.name == named || c.name == named {
			return c
		}
	}
	refuse(w, "channel_not_found")
	return nil
}

func (s *Sandbox) history(w http.ResponseWriter, arguments map[string]string, _ party.Holder) {
	c := s.channel(w, arguments["channel"])
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := slices.Clone(c.messages)
	slices.Reverse(newest)
	writeJSON(w, map[string]any{"ok": true, "messages": newest, "has_more": false})
}

func (s *Sandbox) write(w http.ResponseWriter, arguments map[string]string, h party.Holder) {
	c := s.channel(w, arguments["channel"])
	if c == nil {
		return
	}
	if arguments["text"] == "" {
		refuse(w, "no_text")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.post(c, h.User, arguments["text"])
	writeJSON(w, map[string]any{"ok": true, "channel": c.id, "ts": m.TS, "message": m})
}

// post adds a message, and forgets the oldest when there are too many.
func (s *Sandbox) post(c *channel, u party.User, text string) message {
	s.last = max(s.last+1, s.now().UnixMicro())
	m := message{"message", userID(u), text, fmt.Sprintf("%d.%06d", s.last/1e6, s.last%1e6)}
	c.messages = append(c.messages[max(0, len(c.messages)-maxMessages+1):], m)
	return m
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // an error means that the caller left
}

func refuse(w http.ResponseWriter, code string) {
	writeJSON(w, map[string]any{"ok": false, "error": code})
}
