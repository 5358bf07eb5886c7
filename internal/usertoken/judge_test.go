package usertoken_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/usertoken"
)

const (
	issuer    = "https://login.example"
	discovery = issuer + "/.well-known/openid-configuration"
)

// judged returns what a rule makes of a token with these claims.
type judged func(ctx context.Context, r usertoken.Rule, change map[string]any) (name.User, string, error)

func newIssuer(t testing.TB) judged {
	t.Helper()
	key, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	issuers := &usertoken.Issuers{Fetch: func(_ context.Context, url string) ([]byte, error) {
		if url == discovery {
			return json.Marshal(map[string]string{"issuer": issuer, "jwks_uri": issuer + "/keys"})
		}
		return jwt.NewSet(key).JWKS(), nil
	}}
	return func(ctx context.Context, r usertoken.Rule, change map[string]any) (name.User, string, error) {
		claims := map[string]any{"iss": issuer, "sub": "wang", "aud": "api", "exp": time.Now().Add(time.Minute).Unix()}
		for claim, v := range change {
			claims[claim] = v
		}
		token, err := jwt.Sign(key, "at+jwt", claims)
		if err != nil {
			return name.User{}, "", err
		}
		verified, err := issuers.Verify(ctx, discovery, token)
		if err != nil {
			return name.User{}, "", err
		}
		return r.Judge(verified)
	}
}

// TestTokensAreMeantForSomebody has the same token be shown to agents with
// different rules.
func TestTokensAreMeantForSomebody(t *testing.T) {
	judge := newIssuer(t)
	const own = "https://run.example/agents/default/doc"
	claims := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	for what, c := range map[string]struct {
		rule   usertoken.Rule
		claims map[string]any
		code   string
	}{
		"for anybody":                        {usertoken.Rule{}, nil, ""},
		"for an audience":                    {usertoken.Rule{AllowedAudiences: []string{"api"}}, nil, ""},
		"for another audience":               {usertoken.Rule{AllowedAudiences: []string{"mail"}}, nil, "token_audience"},
		"for the agent's address":            {usertoken.Rule{Own: own, AllowedAudiences: []string{"mail"}}, claims("aud", []string{"x", own}), ""},
		"for no audience, and no address":    {usertoken.Rule{AllowedAudiences: []string{"mail"}}, claims("aud", ""), "token_audience"},
		"by a client":                        {usertoken.Rule{AllowedClients: []string{"web"}}, claims("azp", "web", "aud", "web"), ""},
		"by a client, for a third one":       {usertoken.Rule{AllowedClients: []string{"web"}}, claims("client_id", "web"), "token_audience"},
		"by another client":                  {usertoken.Rule{AllowedClients: []string{"web"}, AllowedAudiences: []string{"api"}}, claims("client_id", "app"), "client_not_allowed"},
		"by nobody":                          {usertoken.Rule{AllowedClients: []string{"web"}, AllowedAudiences: []string{"api"}}, nil, "client_not_allowed"},
		"with a scope":                       {usertoken.Rule{RequiredScopes: []string{"read"}}, claims("scp", "write read"), ""},
		"without it":                         {usertoken.Rule{RequiredScopes: []string{"read"}}, claims("scope", "reader"), usertoken.CodeScope},
		"with a claim":                       {usertoken.Rule{RequiredClaims: map[string][]string{"team": {"a", "b"}}}, claims("team", []any{"c", "b"}), ""},
		"without it, by its name alone":      {usertoken.Rule{RequiredClaims: map[string][]string{"team": {"null"}}}, claims("team", nil), "claim_missing"},
		"an ID token":                        {usertoken.Rule{}, claims("at_hash", "h"), "token_type"},
		"a logout token":                     {usertoken.Rule{}, claims("events", claims()), "token_type"},
		"of nobody":                          {usertoken.Rule{}, claims("sub", ""), "token_subject"},
		"of somebody who cannot be a header": {usertoken.Rule{}, claims("sub", "wang\r\nuser_id: li"), "token_subject"},
	} {
		u, _, err := judge(t.Context(), c.rule, c.claims)
		if (c.code == "") != (err == nil) || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v, want %q", what, err, c.code)
		}
		if err == nil && u != (name.User{Issuer: issuer, Subject: "wang"}) {
			t.Errorf("%s: proves %v", what, u)
		}
	}
}

func TestTheRuleOfAnAgent(t *testing.T) {
	in := agent.Inbound{AllowedClients: []string{"web"}, AllowedAudiences: []string{"api"}, RequiredScopes: []string{"read"}, RequiredClaims: map[string][]string{"team": {"a"}}}
	_, client, err := newIssuer(t)(t.Context(), usertoken.RuleOf(in, ""), map[string]any{"client_id": "web", "scope": "read", "team": "a"})
	if err != nil || client != "web" {
		t.Errorf("%q, %v", client, err)
	}
}

// FuzzJudge has claims of all sorts behind a good signature: whoever they prove
// is somebody of the issuer whom an agent can be told of.
func FuzzJudge(f *testing.F) {
	judge := newIssuer(f)
	f.Add(`{"sub":"wang","aud":["api"],"scp":["read"],"team":[1,"a"]}`)
	f.Add(`{"azp":7,"nonce":null,"scp":{"a":1}}`)
	rule := usertoken.Rule{AllowedAudiences: []string{"api"}, RequiredClaims: map[string][]string{"team": {"a", "1"}}, RequiredScopes: []string{"read"}}
	f.Fuzz(func(t *testing.T, text string) {
		claims := map[string]any{}
		if len(text) > 4<<10 || json.Unmarshal([]byte(text), &claims) != nil {
			t.Skip()
		}
		u, _, err := judge(t.Context(), rule, claims)
		if err == nil && (u.Issuer != issuer || !agent.SubjectFits(u.Subject) || strings.ContainsAny(u.Subject, "\r\n")) {
			t.Errorf("%s proves %+v", text, u)
		}
	})
}
