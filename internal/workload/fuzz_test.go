package workload_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

// FuzzVerify has claims of all sorts behind a good signature: whoever they prove
// is an agent of this trust domain, and a token minted for him proves the same.
func FuzzVerify(f *testing.F) {
	key, err := jwt.Generate(jwt.ES256)
	if err != nil {
		f.Fatal(err)
	}
	tok := (&workload.Tokens{Issuer: issuer, TrustDomain: "deputy.local", Keys: []jwt.Key{key}, Standings: standings{}, Now: func() time.Time { return now }}).Ready()
	f.Add(`{"sub":"usr","sub_id":{"format":"iss_sub","iss":"i","sub":"usr"},"act":{"sub":"spiffe://deputy.local/default/a"}}`)
	f.Add(`{"sub":"usr","sub_id":{"format":"iss_sub","iss":"i","sub":"usr"},"act":{"sub":"spiffe://deputy.local/default/a","act":{"sub":"spiffe://deputy.local/default/b"}}}`)
	f.Add(`{"sub":"spiffe://deputy.local/default/a"}`)
	f.Add(`{"sub":"spiffe://deputy.local/default/a","act":{"sub":"spiffe://deputy.local/default/b"}}`)
	f.Add(`{"sub":"spiffe://evil.example/default/a"}`)
	f.Fuzz(func(t *testing.T, text string) {
		claims := map[string]any{}
		if json.Unmarshal([]byte(text), &claims) != nil || claims == nil {
			t.Skip()
		}
		claims["iss"], claims["aud"], claims["exp"] = issuer, issuer, now.Add(time.Minute).Unix()
		token, err := jwt.Sign(key, workload.TokenType, claims)
		if err != nil {
			t.Skip()
		}
		c, err := tok.Verify(t.Context(), secret.FromString(token))
		if err != nil {
			return
		}
		again, _, err := tok.Mint(t.Context(), c.Workload, c.User, nil)
		if err != nil {
			t.Fatal(err)
		}
		same, err := tok.Verify(t.Context(), again)
		if err != nil || c.Kind != name.Agent || same.Workload != c.Workload || same.User != c.User {
			t.Errorf("%s proves %+v, and minted again %+v, %v", text, c, same, err)
		}
	})
}
