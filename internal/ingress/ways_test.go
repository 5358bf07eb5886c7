package ingress_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	ownKey   = "dak_of-a-program"
	boundKey = "dak_of-a-user"
	otherKey = "dak_of-another-agent"
)

var zoe = name.User{Issuer: "https://elsewhere.example", Subject: "usr_zoe"}

// letting returns a world whose agent lets in as in says; the issuer is filled in.
func letting(t testing.TB, in agent.Inbound) *world {
	w := newWorld(t, echo, nil)
	if in.DiscoveryURL != "" {
		in.DiscoveryURL = w.fleet.inbound.DiscoveryURL
	}
	w.fleet.inbound = in
	w.keys.add(ownKey, agent.Key{ID: "agk_1", Pool: doc.Pool, Agent: doc.Name, Name: "nightly"})
	w.keys.add(boundKey, agent.Key{ID: "agk_2", Pool: doc.Pool, Agent: doc.Name, Name: "for-zoe", User: zoe})
	w.keys.add(otherKey, agent.Key{ID: "agk_3", Pool: doc.Pool, Agent: "mail", Name: "nightly"})
	return w
}

func TestWaysIn(t *testing.T) {
	const issuer = "set" // filled in by letting
	tokens, keys := agent.Inbound{DiscoveryURL: issuer, AllowedClients: []string{"cli_web"}}, agent.Inbound{APIKeys: true}
	both := agent.Inbound{DiscoveryURL: issuer, AllowedClients: []string{"cli_web"}, APIKeys: true}
	open, optional := agent.Inbound{Open: true}, agent.Inbound{Open: true, DiscoveryURL: issuer, APIKeys: true}
	for what, c := range map[string]struct {
		in     agent.Inbound
		shown  string // "token", a key, or ""
		status int
		code   string
		user   string
		key    string
	}{
		"a token":                           {tokens, "token", 200, "", "usr_li", ""},
		"a key where tokens are taken":      {tokens, ownKey, 401, "keys_not_taken", "", ""},
		"a key":                             {keys, ownKey, 200, "", "", "agk_1"},
		"a user's key":                      {keys, boundKey, 200, "", "usr_zoe", "agk_2"},
		"a key of another agent":            {keys, otherKey, 401, "key_unknown", "", ""},
		"a key that never was":              {keys, "dak_x", 401, "key_unknown", "", ""},
		"a token where keys are taken":      {keys, "token", 401, "tokens_not_taken", "", ""},
		"nothing where keys are taken":      {keys, "", 401, "token_missing", "", ""},
		"either: a token":                   {both, "token", 200, "", "usr_li", ""},
		"either: a key":                     {both, ownKey, 200, "", "", "agk_1"},
		"either: nothing":                   {both, "", 401, "token_missing", "", ""},
		"open: nothing":                     {open, "", 200, "", "", ""},
		"open: a token is not looked at":    {open, "token", 200, "", "", ""},
		"open: nonsense is not looked at":   {open, "nonsense", 200, "", "", ""},
		"optional: nothing":                 {optional, "", 200, "", "", ""},
		"optional: a token":                 {optional, "token", 200, "", "usr_li", ""},
		"optional: a bad token":             {optional, "nonsense", 401, "token_malformed", "", ""},
		"optional: a bad key":               {optional, "dak_x", 401, "key_unknown", "", ""},
		"closed: nothing is named":          {agent.Inbound{}, "token", 401, "tokens_not_taken", "", ""},
		"closed: neither do keys":           {agent.Inbound{}, ownKey, 401, "keys_not_taken", "", ""},
		"closed: nor does nobody":           {agent.Inbound{}, "", 401, "token_missing", "", ""},
		"closed: clients without an issuer": {agent.Inbound{AllowedClients: []string{"cli_web"}}, "token", 401, "tokens_not_taken", "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := letting(t, c.in)
			headers := []string{"User_id: usr_forged"}
			switch c.shown {
			case "":
			case "token":
				headers = append(headers, "Authorization: Bearer "+w.good())
			default:
				headers = append(headers, "Authorization: Bearer "+c.shown)
			}
			res := w.post("{}", headers...)
			d, _ := w.recorder.last(t)
			if c.status != 200 {
				if f := readFailure(t, res); res.StatusCode != c.status || f.Error.Code != c.code || d.Allowed || d.Code != c.code {
					t.Errorf("%d %+v, recorded %+v", res.StatusCode, f, d)
				}
				return
			}
			e := readEcho(t, res)
			if got := strings.Join(e.Header["User_id"], ","); got != c.user || e.Header.Get("WorkloadAccessToken") != wat+"/default/doc/"+c.user {
				t.Errorf("the agent acts for %q with %q", got, e.Header.Get("WorkloadAccessToken"))
			}
			if !d.Allowed || d.User.Subject != c.user || d.Key.ID != c.key {
				t.Errorf("recorded %+v", d)
			}
		})
	}
}

func TestAStoreOfKeysThatIsAwayIsNoRefusal(t *testing.T) {
	w := letting(t, agent.Inbound{APIKeys: true})
	w.keys.broken = errors.New("the database is away")
	res := w.post("{}", "Authorization: Bearer "+ownKey)
	if f := readFailure(t, res); res.StatusCode != 500 || strings.Contains(f.Error.Message, "database") || len(w.recorder.decisions) > 0 {
		t.Errorf("%d %+v, %v", res.StatusCode, f, w.recorder.decisions)
	}
}

func TestWhatATokenMustSay(t *testing.T) {
	in := agent.Inbound{
		DiscoveryURL: "set", AllowedClients: []string{"cli_web"}, AllowedAudiences: []string{"https://api.example"}, RequiredScopes: []string{"chat", "docs:read"},
		RequiredClaims: map[string][]string{"groups": {"staff", "board"}, "email_verified": {"true"}, "level": {"2", "3"}},
	}
	good := map[string]any{"aud": "https://api.example", "scope": "docs:read openid chat", "groups": []string{"guests", "board"}, "email_verified": true, "level": 3}
	w := letting(t, in)
	with := func(change map[string]any) string {
		claims := map[string]any{}
		for _, from := range []map[string]any{good, change} {
			for k, v := range from {
				claims[k] = v
			}
		}
		return "Authorization: Bearer " + w.token("at+jwt", claims)
	}
	for what, change := range map[string]map[string]any{
		"all of it":                 {},
		"meant for the agent":       {"aud": []string{publicURL + "/agents/default/doc"}},
		"a group alone":             {"groups": "staff"},
		"scopes as other issuers":   {"scope": nil, "scp": []string{"chat", "docs:read"}},
		"scopes as one text in scp": {"scope": nil, "scp": "docs:read chat"},
		"a truth as a text":         {"email_verified": "true"},
	} {
		if res := w.post("{}", with(change)); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", what, res.StatusCode, read(t, res))
		}
	}
	for what, c := range map[string]struct {
		change map[string]any
		status int
		code   string
	}{
		"meant for the client only": {map[string]any{"aud": "cli_web"}, 401, "token_audience"},
		"meant for another agent":   {map[string]any{"aud": publicURL + "/agents/default/mail"}, 401, "token_audience"},
		"another client":            {map[string]any{"client_id": "cli_other"}, 403, "client_not_allowed"},
		"a scope less":              {map[string]any{"scope": "chat"}, 403, "insufficient_scope"},
		"a longer scope":            {map[string]any{"scope": "chat docs:readwrite"}, 403, "insufficient_scope"},
		"scopes in another place":   {map[string]any{"scope": nil, "scopes": "chat docs:read"}, 403, "insufficient_scope"},
		"no group":                  {map[string]any{"groups": nil}, 403, "claim_missing"},
		"groups of others":          {map[string]any{"groups": []string{"guests", "staff and board"}}, 403, "claim_missing"},
		"groups in one text":        {map[string]any{"groups": "staff board"}, 403, "claim_missing"},
		"groups as a mapping":       {map[string]any{"groups": map[string]any{"staff": true}}, 403, "claim_missing"},
		"not verified":              {map[string]any{"email_verified": false}, 403, "claim_missing"},
		"a level as null":           {map[string]any{"level": []any{nil}}, 403, "claim_missing"},
	} {
		res := w.post("{}", with(c.change))
		if f := readFailure(t, res); res.StatusCode != c.status || f.Error.Code != c.code {
			t.Errorf("%s: %d %+v", what, res.StatusCode, f)
		}
		got := res.Header.Get("WWW-Authenticate")
		switch c.code {
		case "insufficient_scope":
			if !strings.HasPrefix(got, `Bearer realm="deputy", error="insufficient_scope", error_description="`) || !strings.Contains(got, `scope="chat docs:read"`) || !strings.Contains(got, `resource_metadata="`) {
				t.Errorf("%s: challenge %s", what, got)
			}
		case "token_audience":
			if !strings.Contains(got, `error="invalid_token"`) || !strings.Contains(got, `scope="chat docs:read"`) {
				t.Errorf("%s: challenge %s", what, got)
			}
		default:
			if got != "" {
				t.Errorf("%s: challenge %s", what, got)
			}
		}
	}
}

// A page that somebody opens in his browser must not call what only his machine
// reaches.
func TestPagesDoNotCallOpenAgents(t *testing.T) {
	w := letting(t, agent.Inbound{Open: true})
	for origin, status := range map[string]int{publicURL: 200, "https://evil.example": 403, "null": 403, "http://ingress.test.evil.example": 403, "": 403} {
		res := w.post("{}", "Origin: "+origin)
		if res.StatusCode != status {
			t.Errorf("from %q: %d", origin, res.StatusCode)
		}
	}
	if d, _ := w.recorder.last(t); d.Workload != doc {
		t.Errorf("recorded %+v", d)
	}
	tokens := letting(t, agent.Inbound{Open: true, DiscoveryURL: "set"})
	readEcho(t, tokens.post("{}", "Origin: https://app.example", "Authorization: Bearer "+tokens.good())) // no page has this by accident
}

func TestProtectedResourceMetadata(t *testing.T) {
	w := letting(t, agent.Inbound{DiscoveryURL: "set", RequiredScopes: []string{"chat"}, APIKeys: true})
	get := func(path string) (*http.Response, map[string]any) {
		res, err := http.Get(w.ingress.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var doc map[string]any
		if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		return res, doc
	}
	want := func(doc map[string]any, want string) {
		t.Helper()
		if b, err := json.Marshal(doc); err != nil || string(b) != want {
			t.Errorf("%s, want %s", b, want)
		}
	}
	// The challenge leads to the document, and the document to the issuer.
	challenge := w.post("{}").Header.Get("WWW-Authenticate")
	_, rest, _ := strings.Cut(challenge, `resource_metadata="`)
	path := strings.TrimPrefix(strings.TrimSuffix(rest, `"`), publicURL)
	_, doc := get(path)
	want(doc, `{"authorization_servers":["`+w.issuer.URL+`"],"bearer_methods_supported":["header"],"resource":"`+publicURL+`/agents/default/doc","resource_name":"doc","scopes_supported":["chat"]}`)
	w.fleet.set(func(a *agents) { a.inbound = agent.Inbound{APIKeys: true} })
	_, doc = get(path)
	want(doc, `{"bearer_methods_supported":["header"],"resource":"`+publicURL+`/agents/default/doc","resource_name":"doc"}`)
	for path, status := range map[string]int{
		"/.well-known/oauth-protected-resource/agents/default/nobody": 404, "/.well-known/oauth-protected-resource": 404,
		"/.well-known/oauth-protected-resource/agents/default/doc/": 404, "/agents/default/doc/oauth-protected-resource": 404,
		"/.well-known/oauth-protected-resource/agents/default/doc/mcp": 404, "/.well-known/oauth-protected-resourceagents/default/doc": 404,
	} {
		if res, _ := get(path); res.StatusCode != status {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}
