package workload_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

const issuer = "https://id.example"

var (
	now   = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	agent = name.Workload{Pool: "default", Name: "doc"}
	zhang = name.User{Issuer: issuer + "/userpool/people", Subject: "usr_zhang"}
)

func tokens(t *testing.T, clock *time.Time) (*workload.Tokens, jwt.Key) {
	t.Helper()
	key, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return (&workload.Tokens{Issuer: issuer, TrustDomain: "deputy.local", Keys: []jwt.Key{key}, Standings: standings{}, Now: func() time.Time { return *clock }}).Ready(), key
}

func TestATokenProvesWhatItWasMintedFor(t *testing.T) {
	clock := now
	tok, _ := tokens(t, &clock)
	chain := []name.Workload{{Pool: "default", Name: "front"}, {Pool: "default", Name: "outer"}}
	for what, want := range map[string]name.Caller{
		"for a user":      {Kind: name.Agent, Workload: agent, User: zhang},
		"with a chain":    {Kind: name.Agent, Workload: agent, User: zhang, Chain: chain},
		"the agent alone": {Kind: name.Agent, Workload: agent},
	} {
		wat, expires, err := tok.Mint(t.Context(), want.Workload, want.User, want.Chain)
		if err != nil || expires.Sub(now) != workload.MaxTokenLife {
			t.Fatalf("%s: expires %v, %v", what, expires, err)
		}
		got, err := tok.Verify(t.Context(), wat)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", what, err, diff)
		}
	}
}

func TestATokenEnds(t *testing.T) {
	clock := now
	tok, _ := tokens(t, &clock)
	wat, expires, err := tok.Mint(t.Context(), agent, zhang, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		code string
	}{{now, ""}, {expires.Add(-time.Second), ""}, {expires.Add(time.Second), "token_expired"}} {
		clock = c.at
		_, err := tok.Verify(t.Context(), wat)
		if (c.code == "") != (err == nil) || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("at %v: %v", c.at, err)
		}
	}
}

// TestNothingElseIsAToken signs what others might, with the right key.
func TestNothingElseIsAToken(t *testing.T) {
	clock := now
	tok, key := tokens(t, &clock)
	good := func() map[string]any {
		return map[string]any{"iss": issuer, "aud": issuer, "sub": "usr_zhang", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "x",
			"sub_id": map[string]any{"format": "iss_sub", "iss": zhang.Issuer, "sub": "usr_zhang"}, "act": map[string]any{"sub": "spiffe://deputy.local/default/doc"}}
	}
	for what, c := range map[string]struct {
		typ    string
		change func(map[string]any)
		code   string
	}{
		"as it should be":       {workload.TokenType, func(map[string]any) {}, ""},
		"an access token":       {"at+jwt", func(map[string]any) {}, "token_type"},
		"a launch token":        {"launch+jwt", func(map[string]any) {}, "token_type"},
		"another issuer":        {workload.TokenType, func(c map[string]any) { c["iss"] = "https://evil" }, "token_issuer"},
		"another audience":      {workload.TokenType, func(c map[string]any) { c["aud"] = "https://evil" }, "token_audience"},
		"subject disagrees":     {workload.TokenType, func(c map[string]any) { c["sub"] = "usr_li" }, "token_malformed"},
		"no actor":              {workload.TokenType, func(c map[string]any) { delete(c, "act") }, "token_malformed"},
		"no issuer of the user": {workload.TokenType, func(c map[string]any) { c["sub_id"] = map[string]any{"format": "iss_sub", "sub": "usr_zhang"} }, "token_malformed"},
		"another format":        {workload.TokenType, func(c map[string]any) { c["sub_id"].(map[string]any)["format"] = "email" }, "token_malformed"},
		"foreign trust domain":  {workload.TokenType, func(c map[string]any) { c["act"] = map[string]any{"sub": "spiffe://evil/default/doc"} }, "token_malformed"},
		"actor without name":    {workload.TokenType, func(c map[string]any) { c["act"] = map[string]any{"sub": "spiffe://deputy.local/default"} }, "token_malformed"},
		"actor of another type": {workload.TokenType, func(c map[string]any) { c["act"] = 7 }, "token_malformed"},
		"an agent in a circle":  {workload.TokenType, func(c map[string]any) { c["act"] = endless(1) }, "token_malformed"},
		"an agent for an agent": {workload.TokenType, func(c map[string]any) {
			c["sub"] = "spiffe://deputy.local/default/front"
			delete(c, "sub_id")
		}, "token_malformed"},
		"an endless chain": {workload.TokenType, func(c map[string]any) { c["act"] = endless(20) }, "token_malformed"},
	} {
		claims := good()
		c.change(claims)
		token, err := jwt.Sign(key, c.typ, claims)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tok.Verify(t.Context(), secret.FromString(token))
		if (c.code == "") != (err == nil) || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other, _ := tokens(t, &clock)
	wat, _, err := other.Mint(t.Context(), agent, zhang, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Verify(t.Context(), wat); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("signed with another key: %v", err)
	}
}

// TestNoTokenIsMintedThatWouldNotBeBelieved has the longest chain, and those
// that are none.
func TestNoTokenIsMintedThatWouldNotBeBelieved(t *testing.T) {
	clock := now
	tok, _ := tokens(t, &clock)
	links := func(n int) []name.Workload {
		var chain []name.Workload
		for i := range n {
			chain = append(chain, name.Workload{Pool: "default", Name: "caller" + string(rune('a'+i))})
		}
		return chain
	}
	for what, c := range map[string]struct {
		user  name.User
		chain []name.Workload
		code  string
	}{
		"the longest chain":        {zhang, links(8), ""},
		"one agent more":           {zhang, links(9), "chain_too_long"},
		"the agent called himself": {zhang, []name.Workload{agent}, "chain_loop"},
		"in a circle":              {zhang, append(links(2), links(1)...), "chain_loop"},
		"his name in another pool": {zhang, []name.Workload{{Pool: "other", Name: agent.Name}}, ""},
		"for nobody":               {name.User{}, links(1), "chain_without_user"},
	} {
		wat, _, err := tok.Mint(t.Context(), agent, c.user, c.chain)
		if (c.code == "") != (err == nil) || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil {
			continue
		}
		if got, err := tok.Verify(t.Context(), wat); err != nil || !cmp.Equal(got.Chain, c.chain) {
			t.Errorf("%s: proves %v, %v", what, got.Chain, err)
		}
	}
}

func endless(n int) map[string]any {
	act := map[string]any{"sub": "spiffe://deputy.local/default/doc"}
	for range n {
		act = map[string]any{"sub": "spiffe://deputy.local/default/doc", "act": act}
	}
	return act
}

func TestTokensFollowTheRotation(t *testing.T) {
	clock := now
	tok, first := tokens(t, &clock)
	old, _, err := tok.Mint(t.Context(), agent, zhang, nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	tok.Use([]jwt.Key{first, next})
	fresh, _, err := tok.Mint(t.Context(), agent, zhang, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, wat := range map[string]secret.Text{"signed before": old, "signed after": fresh} {
		if _, err := tok.Verify(t.Context(), wat); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	alone := (&workload.Tokens{Issuer: issuer, TrustDomain: "deputy.local", Keys: []jwt.Key{next}, Standings: standings{}, Now: tok.Now}).Ready()
	if _, err := alone.Verify(t.Context(), fresh); err != nil {
		t.Errorf("not signed with the new key: %v", err)
	}
	if _, err := alone.Verify(t.Context(), old); err == nil {
		t.Error("signed with the new key before it was there")
	}
}
