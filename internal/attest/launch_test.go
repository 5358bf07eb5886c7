package attest_test

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

const issuer = "https://id.example"

var doc = attest.Launch{ID: "launch_1", Workload: name.Workload{Pool: "default", Name: "doc"}}

func newKey(t *testing.T) jwt.Key {
	t.Helper()
	k, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newLaunches(t *testing.T, c attest.LaunchesConfig) *attest.Launches {
	t.Helper()
	c.Issuer, c.TrustDomain = issuer, "deputy.test"
	if c.Live == nil {
		c.Live = func(context.Context, string) (bool, error) { return true, nil }
	}
	l, err := attest.NewLaunches(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMintedIsVerified(t *testing.T) {
	now := time.Unix(1_800_000_000, 500)
	live := map[string]bool{"launch_1": true}
	old := newKey(t)
	before := newLaunches(t, attest.LaunchesConfig{Keys: []jwt.Key{old}, Now: func() time.Time { return now }})
	l := newLaunches(t, attest.LaunchesConfig{
		Keys: []jwt.Key{old, newKey(t)}, Live: func(_ context.Context, id string) (bool, error) { return live[id], nil }, Now: func() time.Time { return now },
	})
	for what, minter := range map[string]*attest.Launches{"the present key": l, "the key before": before} {
		token, expires, err := minter.Mint(doc, attest.MaxLaunchLife)
		if err != nil || !expires.Equal(time.Unix(1_800_000_600, 0)) {
			t.Fatal(expires, err)
		}
		if got, err := l.Verify(t.Context(), token); err != nil || got != doc {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	token, _, err := l.Mint(doc, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	delete(live, "launch_1")
	if _, err := l.Verify(t.Context(), token); !fault.HasCode(err, "launch_ended") || !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("after the launch: %v", err)
	}
	live["launch_1"], now = true, now.Add(time.Minute)
	if _, err := l.Verify(t.Context(), token); !fault.HasCode(err, "token_expired") {
		t.Errorf("after its time: %v", err)
	}
}

func TestNothingElseIsALaunchToken(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	k := newKey(t)
	l := newLaunches(t, attest.LaunchesConfig{Keys: []jwt.Key{k}})
	good := func() map[string]any {
		return map[string]any{"iss": issuer, "aud": issuer, "sub": doc.Workload.SPIFFEID("deputy.test"), "launch_id": "launch_1",
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "x"}
	}
	sign := func(k jwt.Key, typ string, change map[string]any) secret.Text {
		c := good()
		for name, v := range change {
			c[name] = v
		}
		token, err := jwt.Sign(k, typ, c)
		if err != nil {
			t.Fatal(err)
		}
		return secret.FromString(token)
	}
	if _, err := l.Verify(t.Context(), sign(k, attest.LaunchType, nil)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for what, c := range map[string]struct {
		token secret.Text
		code  string
	}{
		"empty":                {secret.Text{}, "token_malformed"},
		"a WAT":                {sign(k, "wat+jwt", nil), "token_type"},
		"a stranger's key":     {sign(newKey(t), attest.LaunchType, nil), "token_unknown_key"},
		"another issuer":       {sign(k, attest.LaunchType, map[string]any{"iss": "https://evil"}), "token_issuer"},
		"another audience":     {sign(k, attest.LaunchType, map[string]any{"aud": "https://evil"}), "token_audience"},
		"another trust domain": {sign(k, attest.LaunchType, map[string]any{"sub": "spiffe://evil/default/doc"}), "token_malformed"},
		"a user":               {sign(k, attest.LaunchType, map[string]any{"sub": "usr_1"}), "token_malformed"},
		"no launch":            {sign(k, attest.LaunchType, map[string]any{"launch_id": ""}), "token_malformed"},
		"launch of wrong type": {sign(k, attest.LaunchType, map[string]any{"launch_id": 1}), "token_malformed"},
		"a long life":          {sign(k, attest.LaunchType, map[string]any{"exp": now.Add(time.Hour).Unix()}), "token_malformed"},
	} {
		if _, err := l.Verify(t.Context(), c.token); !fault.HasCode(err, c.code) || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
}

func TestMintAndConfigHaveBounds(t *testing.T) {
	l := newLaunches(t, attest.LaunchesConfig{Keys: []jwt.Key{newKey(t)}})
	for _, ttl := range []time.Duration{0, -1, attest.MaxLaunchLife + 1} {
		if _, _, err := l.Mint(doc, ttl); err == nil {
			t.Errorf("a life of %v is accepted", ttl)
		}
	}
	if _, _, err := l.Mint(attest.Launch{ID: "x"}, time.Minute); err == nil {
		t.Error("a launch of nothing is accepted")
	}
	if _, err := attest.NewLaunches(attest.LaunchesConfig{Issuer: issuer, TrustDomain: "x", Keys: []jwt.Key{newKey(t)}}); err == nil {
		t.Error("a config without Live is accepted")
	}
}
