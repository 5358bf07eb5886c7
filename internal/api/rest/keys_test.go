package rest_test

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/userpool"
)

type keyShown struct {
	ID, Algorithm, State string
	SignsFrom            time.Time
	PublishedUntil       time.Time
}

func TestSigningKeysAreRotated(t *testing.T) {
	w := newWorld(t)
	if _, err := w.api.Keys.Signing(t.Context(), userpool.KeyOwner("people"), jwt.ES256); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.Keys.Signing(t.Context(), keys.WorkloadTokens, jwt.ES256); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{"/user-pools/people/keys": "{}", "/token-keys/workload-tokens": ""} {
		var made, again keyShown
		w.expect(200, "POST", path, body, &made)
		w.expect(200, "POST", path, body, &again)
		if made.State != "waiting" || made.Algorithm != jwt.ES256 || time.Until(made.SignsFrom) <= 0 || made != again {
			t.Errorf("%s: made %+v, then %+v", path, made, again)
		}
		var all struct{ Items []keyShown }
		w.expect(200, "GET", path, "", &all)
		if len(all.Items) != 2 || all.Items[0].State != "signs" || all.Items[0].PublishedUntil.Before(made.SignsFrom) || all.Items[1] != made {
			t.Errorf("%s: there are %+v", path, all.Items)
		}
	}
	w.expect(200, "POST", "/user-pools/people/keys", `{"algorithm":"EdDSA"}`, nil)
	w.expect(400, "POST", "/user-pools/people/keys", `{"algorithm":"none"}`, nil)
	w.expect(404, "POST", "/user-pools/nowhere/keys", "{}", nil)
	w.expect(404, "GET", "/user-pools/nowhere/keys", "", nil)
	w.expect(404, "POST", "/token-keys/userpool", "", nil)
}
