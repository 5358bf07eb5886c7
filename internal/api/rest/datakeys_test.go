package rest_test

import (
	"net/http"
	"testing"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// TestDataKeys rotates data keys and wraps them anew through the client of the API.
func TestDataKeys(t *testing.T) {
	w := newWorld(t)
	client, err := apiclient.New(apiclient.Config{URL: w.url, Token: secret.FromString(w.operator)})
	must(t, err)
	before, err := client.DataKeys(t.Context())
	must(t, err)
	if len(before) != 1 || before[0].Pool != "default" || before[0].Version != 1 || !before[0].Newest || before[0].Former || before[0].Root == "" || before[0].Records == 0 {
		t.Fatalf("data keys %+v", before)
	}
	made, err := client.RotateDataKeys(t.Context())
	must(t, err)
	if len(made) != 2 || made[0].Newest || made[0].Records != before[0].Records || !made[1].Newest || made[1].Records != 0 {
		t.Errorf("after the rotation began: %+v", made)
	}
	if again, err := client.RotateDataKeys(t.Context()); err != nil || len(again) != 2 {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	for _, want := range []int{before[0].Records, 0} {
		if step, err := client.Reseal(t.Context()); err != nil || step.Resealed != want || step.Remaining != 0 || step.Broken != nil {
			t.Errorf("resealed: %+v, %v; want %d", step, err, want)
		}
	}
	if n, left, err := client.Rewrap(t.Context()); err != nil || n != 0 || left != 0 {
		t.Errorf("nothing to wrap: %d, %d, %v", n, left, err)
	}
	agent, err := apiclient.New(apiclient.Config{URL: w.url, Token: secret.FromString(w.agent)})
	must(t, err)
	if _, err := agent.DataKeys(t.Context()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("an agent lists them: %v", err)
	}
	for _, path := range []string{"/data-keys", "/data-keys/reseal", "/data-keys/rewrap"} {
		for who, token := range map[string]string{"an agent": w.agent, "a launch": w.launch} {
			if got := w.send(http.MethodPost, "/api/v1"+path, "", http.Header{"Authorization": {"Bearer " + token}}); got.status != http.StatusForbidden && got.status != http.StatusUnauthorized {
				t.Errorf("%s at %s: %d", who, path, got.status)
			}
		}
	}
}
