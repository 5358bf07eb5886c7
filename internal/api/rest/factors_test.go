package rest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

// TestFactors lists, removes and resets a user's second factors through the
// client of the API.
func TestFactors(t *testing.T) {
	w := newWorld(t)
	client, err := apiclient.New(apiclient.Config{URL: w.url, Token: secret.FromString(w.operator)})
	must(t, err)
	user, err := client.CreateUser(t.Context(), "people", apiclient.NewUser{UserName: "with-factors", Password: secret.FromString(password)})
	must(t, err)
	owner := factor.Owner{Pool: "people", UserID: user.ID}
	person := name.Caller{Kind: name.Person, User: name.User{Subject: owner.UserID}}
	enrol := func() {
		seed := factor.NewSeed()
		_, err := w.api.Factors.AddTOTP(t.Context(), person, owner, "手机", seed, storetest.TOTP(seed, time.Now()))
		must(t, err)
		_, err = w.api.Factors.NewRecovery(t.Context(), person, owner)
		must(t, err)
	}
	list := func(want, codes int) apiclient.Factors {
		t.Helper()
		got, err := client.Factors(t.Context(), "people", owner.UserID)
		must(t, err)
		if len(got.Items) != want || got.RecoveryCodes != codes {
			t.Fatalf("factors %+v", got)
		}
		return got
	}
	list(0, 0)
	enrol()
	f := list(1, 10).Items[0]
	if f.Kind != "totp" || f.Name != "手机" || !f.LastUsedAt.IsZero() {
		t.Errorf("factor %+v", f)
	}
	must(t, client.RemoveFactor(t.Context(), "people", owner.UserID, f.ID))
	if err := client.RemoveFactor(t.Context(), "people", owner.UserID, f.ID); !fault.HasCode(err, "factor_not_found") {
		t.Errorf("removed twice: %v", err)
	}
	list(0, 10)
	enrol()
	must(t, client.ResetFactors(t.Context(), "people", owner.UserID))
	list(0, 0)

	for _, user := range []string{"usr_nobody", "../" + owner.UserID} {
		if _, err := client.Factors(t.Context(), "people", user); !fault.Is(err, fault.NotFound) {
			t.Errorf("factors of %q: %v", user, err)
		}
	}
	if err := client.ResetFactors(t.Context(), "nowhere", owner.UserID); !fault.HasCode(err, "user_not_found") {
		t.Errorf("in another pool: %v", err)
	}
	h := http.Header{"Authorization": {"Bearer " + w.agent}}
	if got := w.send(http.MethodDelete, "/api/v1/user-pools/people/users/"+owner.UserID+"/factors", "", h); got.status != http.StatusForbidden {
		t.Errorf("an agent resets a person's factors: %d", got.status)
	}
}
