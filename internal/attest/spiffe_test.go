package attest_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
)

// TestSPIFFEIDs has the examples of SPIFFE-ID, section 2, and what it forbids.
func TestSPIFFEIDs(t *testing.T) {
	for _, good := range []string{
		"spiffe://staging.example.com/payments/mysql", "spiffe://k8s-west.example.com/ns/staging/sa/default", "spiffe://example.com/9eebccd2-12bf-40a6-b262-65fe0487d453",
		"spiffe://a_b/...", "spiffe://1/A.b-c_D",
	} {
		id, err := attest.ParseSPIFFEID(good)
		if err != nil || id.String() != good {
			t.Errorf("%s is %s, %v", good, id, err)
		}
	}
	for _, bad := range []string{
		"", "spiffe://", "spiffe:///a", "spiffe://example.com", "spiffe://example.com/", "spiffe://example.com/a/", "spiffe://example.com//a", "spiffe://example.com/a//b",
		"SPIFFE://example.com/a", "https://example.com/a", "spiffe://Example.com/a", "spiffe://example.com:80/a", "spiffe://u@example.com/a", "spiffe://exa%6Dple.com/a",
		"spiffe://example.com/a/../b", "spiffe://example.com/./a", "spiffe://example.com/a%2fb", "spiffe://example.com/a?b", "spiffe://example.com/a#b", "spiffe://example.com/ä",
		"spiffe://" + strings.Repeat("a", 256) + "/b", "spiffe://example.com/" + strings.Repeat("a", 2048), "spiffe:/example.com/a", " spiffe://example.com/a",
	} {
		if id, err := attest.ParseSPIFFEID(bad); err == nil {
			t.Errorf("%q is %s", bad, id)
		}
	}
}

func FuzzParseSPIFFEID(f *testing.F) {
	f.Add("spiffe://example.com/ns/agents/sa/doc")
	f.Add("spiffe://example.com/..")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := attest.ParseSPIFFEID(s); err == nil && id.String() != s {
			t.Errorf("%q is %q", s, id)
		}
	})
}

func TestSVIDs(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	key := newKey(t)
	bundle := strings.ReplaceAll(string(jwt.NewSet(key).JWKS()), `"use":"sig"`, `"use":"jwt-svid"`)
	keys, err := jwt.NewIssuer(jwt.IssuerConfig{KeysURL: "https://spire.example/bundle", Bundle: true, Fetch: func(context.Context, string) ([]byte, error) { return []byte(bundle), nil }})
	if err != nil {
		t.Fatal(err)
	}
	s := attest.SPIFFE{Keys: keys, TrustDomain: "prod.example", Audience: issuer, Now: func() time.Time { return now }}
	good := map[string]any{"sub": "spiffe://prod.example/ns/agents/sa/doc", "aud": []string{issuer}, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix()}
	sign := func(k jwt.Key, typ string, change map[string]any) secret.Text {
		claims := maps.Clone(good)
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		token, err := jwt.Sign(k, typ, claims)
		if err != nil {
			t.Fatal(err)
		}
		return secret.FromString(token)
	}
	for what, svid := range map[string]secret.Text{
		"as it should be":       sign(key, "JWT", nil),
		"of type JOSE":          sign(key, "JOSE", nil),
		"with an issuer":        sign(key, "JWT", map[string]any{"iss": "https://oidc.prod.example"}),
		"without time of issue": sign(key, "JWT", map[string]any{"iat": nil}),
		"for one, not in a list": sign(key, "JWT", map[string]any{
			"aud": issuer,
		}),
	} {
		if id, err := s.Verify(t.Context(), svid); err != nil || id.Path != "/ns/agents/sa/doc" {
			t.Errorf("%s: %v, %v", what, id, err)
		}
	}
	for what, bad := range map[string]struct {
		svid secret.Text
		code string
	}{
		"a stranger's key":       {sign(newKey(t), "JWT", nil), "token_unknown_key"},
		"another type":           {sign(key, "at+jwt", nil), "token_type"},
		"another audience":       {sign(key, "JWT", map[string]any{"aud": "vault"}), "token_audience"},
		"several audiences":      {sign(key, "JWT", map[string]any{"aud": []string{issuer, "vault"}}), "token_audience"},
		"no audience":            {sign(key, "JWT", map[string]any{"aud": nil}), "token_audience"},
		"expired":                {sign(key, "JWT", map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "token_expired"},
		"without end":            {sign(key, "JWT", map[string]any{"exp": nil}), "token_malformed"},
		"of the future":          {sign(key, "JWT", map[string]any{"iat": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()}), "token_not_yet_valid"},
		"for a month":            {sign(key, "JWT", map[string]any{"exp": now.AddDate(0, 1, 0).Unix()}), "token_lifetime"},
		"for a month, undated":   {sign(key, "JWT", map[string]any{"exp": now.AddDate(0, 1, 0).Unix(), "iat": nil}), "token_lifetime"},
		"of another domain":      {sign(key, "JWT", map[string]any{"sub": "spiffe://dev.example/ns/agents/sa/doc"}), "token_subject"},
		"of the domain itself":   {sign(key, "JWT", map[string]any{"sub": "spiffe://prod.example"}), "token_subject"},
		"of no SPIFFE ID":        {sign(key, "JWT", map[string]any{"sub": "doc"}), "token_subject"},
		"of a path with a climb": {sign(key, "JWT", map[string]any{"sub": "spiffe://prod.example/a/../ns/agents/sa/doc"}), "token_subject"},
	} {
		if id, err := s.Verify(t.Context(), bad.svid); !fault.HasCode(err, bad.code) || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v, %v, want %s", what, id, err, bad.code)
		}
	}
}
