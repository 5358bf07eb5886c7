package consent_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

var operator = name.Caller{Kind: name.Operator, Operator: "root"}

// TestTheProviderIsNotWhatItWas changes the provider while the user is at the
// third party: the code is that one's, and is not sent to wherever the provider
// points now, nor is anything of it stored.
func TestTheProviderIsNotWhatItWas(t *testing.T) {
	w := newWorld(t)
	settings := provider.Settings{
		Vendor: "custom", ClientID: "cli_2", ClientSecret: secret.FromString("cs_2"),
		Endpoints: vendor.Endpoints{Authorization: w.party.URL + "/authorize", Token: w.party.URL + "/token", UserInfo: w.party.URL + "/me"},
	}
	registry := w.flow.Providers
	change := func() {
		t.Helper()
		_, err := registry.Update(t.Context(), operator, "default", "party", settings)
		must(t, err)
	}
	b := w.opened(agentA, zhang, "read")
	change()
	got, err := w.finish(t.Context(), b, zhang)
	must(t, err)
	if got.State != consent.Failed || got.Reason != "provider_changed" || w.calls.Load() != 0 {
		t.Errorf("the authorization is %s %q after %d exchanges", got.State, got.Reason, w.calls.Load())
	}
	if g, d := w.found(agentA, zhang); g.ID != "" || d.ID != "" {
		t.Errorf("stored: grant %q, delegation %q", g.ID, d.ID)
	}

	pending := w.begin(agentA, zhang, consent.KindGrant, "read") // who is not yet there goes where it points now
	change()
	opened, err := w.open(pending, zhang)
	must(t, err)
	if got, err = w.finish(t.Context(), opened, zhang); err != nil || got.State != consent.Completed {
		t.Errorf("a link opened after the change: %s %v", got.State, err)
	}

	gone := w.opened(agentB, li, "read")
	must(t, registry.Delete(t.Context(), operator, "default", "party"))
	_, err = registry.Create(t.Context(), operator, "default", "party", settings)
	must(t, err)
	_, err = w.finish(t.Context(), gone, li)
	wantCode(t, err, "state_unknown")
	if w.calls.Load() != 1 {
		t.Errorf("%d exchanges", w.calls.Load())
	}
}

// TestTheProviderIsChangedDuringTheExchange: what the third party answers is the
// former client's, and is not stored for the new one.
func TestTheProviderIsChangedDuringTheExchange(t *testing.T) {
	w := newWorld(t)
	b := w.opened(agentA, zhang, "read")
	w.does(func(rw http.ResponseWriter) {
		_, err := w.flow.Providers.Update(context.Background(), operator, "default", "party", provider.Settings{Vendor: "custom", ClientID: "cli_2", Endpoints: vendor.Endpoints{
			Authorization: w.party.URL + "/authorize", Token: w.party.URL + "/token", UserInfo: w.party.URL + "/me",
		}})
		if err != nil {
			t.Error(err)
		}
		_, _ = rw.Write([]byte(answered))
	})
	got, err := w.finish(t.Context(), b, zhang)
	must(t, err)
	if got.State != consent.Failed || got.Reason != "provider_changed" || w.calls.Load() != 1 {
		t.Errorf("the authorization is %s %q after %d exchanges", got.State, got.Reason, w.calls.Load())
	}
	if g, d := w.found(agentA, zhang); g.ID != "" || d.ID != "" {
		t.Errorf("stored: grant %q, delegation %q", g.ID, d.ID)
	}
	w.says(answered)
	w.given(agentA, zhang, "read")
}
