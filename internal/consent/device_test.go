package consent_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// newDeviceWorld is a world whose third party has people type codes.
func newDeviceWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.changeProvider(true)
	w.says(`{"error":"authorization_pending"}`)
	return w
}

func (w *world) changeProvider(device bool) {
	w.t.Helper()
	_, err := w.flow.Providers.Update(w.t.Context(), name.Caller{Kind: name.Operator, Operator: "root"}, "default", "party", provider.Settings{
		Vendor: "custom", ClientID: "cli_1", ClientSecret: secret.FromString("cs_1"), Options: provider.Options{Device: device},
		Endpoints: vendor.Endpoints{Authorization: w.party.URL + "/authorize", DeviceAuthorization: w.party.URL + "/device", Token: w.party.URL + "/token", UserInfo: w.party.URL + "/me"},
	})
	must(w.t, err)
}

func is(c name.Caller) func(string) name.Caller { return func(string) name.Caller { return c } }

// askAll asks all that is due, and returns how long until the next is.
func (w *world) askAll() time.Duration {
	w.t.Helper()
	for {
		next, err := w.flow.AskDevices(w.t.Context())
		must(w.t, err)
		if wait := next.Sub(w.now()); next.IsZero() || wait > 0 {
			return wait
		}
	}
}

func TestConsentByCode(t *testing.T) {
	w := newDeviceWorld(t)
	b := w.opened(agentA, zhang, "read")
	a, shown, err := w.flow.ShowDevice(t.Context(), b.id, is(person(zhang)))
	must(t, err)
	if a.State != consent.Redirected || shown.UserCode != "WDJB-MJHT" || shown.At != "https://party.example/device" || !b.state.Empty() || !b.browser.Empty() {
		t.Fatalf("%s shows %+v", a.State, shown)
	}
	// Not before the third party wants to be asked.
	if wait := w.askAll(); w.calls.Load() != 0 || wait < 4*time.Second || wait > 5*time.Second {
		t.Fatalf("asked %d times, the next time in %s", w.calls.Load(), wait)
	}
	w.pass(6 * time.Second)
	if wait := w.askAll(); w.calls.Load() != 1 || wait < 4*time.Second || wait > 5*time.Second {
		t.Fatalf("asked %d times, the next time in %s", w.calls.Load(), wait)
	}
	// Whoever opens the link again gets to the same code; the third party is not bothered.
	if again, err := w.open(b, zhang); err != nil || !again.state.Empty() {
		t.Fatalf("the link again: %v", err)
	}
	w.says(answered)
	w.pass(6 * time.Second)
	w.askAll()
	if got := w.read(b); got.State != consent.Completed {
		t.Fatalf("the authorization is %s: %s %s", got.State, got.Reason, got.Message)
	}
	if g, d := w.found(agentA, zhang); g.State != vault.Active || g.Account.ID != "acc_1" || !d.Scopes.Has("read") {
		t.Errorf("grant %s of %q, delegation %s", g.State, g.Account.ID, d.Scopes)
	}
	if got := w.entries(b); !slices.Equal(got, []string{"begin allowed", "open allowed", "finish allowed"}) {
		t.Errorf("recorded: %v", got)
	}
	calls := w.calls.Load()
	w.pass(time.Minute)
	if w.askAll(); w.calls.Load() != calls {
		t.Error("the third party is asked on")
	}
	if _, shown, err := w.flow.ShowDevice(t.Context(), b.id, is(person(zhang))); err != nil || shown != (consent.Shown{}) {
		t.Errorf("the code is still shown: %+v %v", shown, err)
	}
}

// TestNobodyElseSeesTheCode: with it, somebody could have another person agree
// for him, or agree in his place.
func TestNobodyElseSeesTheCode(t *testing.T) {
	w := newDeviceWorld(t)
	b := w.begin(agentA, zhang, consent.KindGrant, "read")
	_, err := w.open(b, li)
	wantCode(t, err, "link_not_yours")
	if _, err := w.flow.Devices.Device(t.Context(), b.id); err == nil {
		t.Error("the third party was asked for a code for the wrong person")
	}
	b, err = w.open(b, zhang)
	must(t, err)
	for _, c := range []name.Caller{{}, person(li), asks(agentA, zhang), {Kind: name.Operator, Operator: "root"}} {
		_, shown, err := w.flow.ShowDevice(t.Context(), b.id, is(c))
		wantCode(t, err, "authorization_not_found")
		if shown != (consent.Shown{}) {
			t.Errorf("%v sees %+v", c.Kind, shown)
		}
	}
	_, err = w.open(b, li)
	wantCode(t, err, "link_not_yours")
	d, err := w.flow.Devices.Device(t.Context(), b.id)
	must(t, err)
	for _, secret := range []string{"dc_secret_1", "WDJB-MJHT"} {
		if strings.Contains(string(d.Sealed), secret) {
			t.Errorf("%q is stored as it is", secret)
		}
	}
}

// TestAnswersToACode: what the third party says when asked.
func TestAnswersToACode(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter)
		state  consent.State
		reason string
		wait   time.Duration // until the next question; 0 = none follows
	}{
		"pending":   {says(400, `{"error":"authorization_pending"}`), consent.Redirected, "", 5 * time.Second},
		"too fast":  {says(400, `{"error":"slow_down"}`), consent.Redirected, "", 10 * time.Second},
		"declined":  {says(400, `{"error":"access_denied"}`), consent.Failed, "access_denied", 0},
		"expired":   {says(400, `{"error":"expired_token"}`), consent.Failed, "expired_token", 0},
		"used":      {says(400, `{"error":"invalid_grant"}`), consent.Failed, "invalid_grant", 0},
		"broken":    {says(500, `oops`), consent.Redirected, "", 10 * time.Second},
		"busy":      {says(429, `{"error":"rate_limited"}`), consent.Redirected, "", 10 * time.Second},
		"cut off":   {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, consent.Redirected, "", 10 * time.Second},
		"too much":  {says(200, answered), consent.Completed, "", 0},
		"too large": {says(200, strings.Repeat("x", 2<<20)), consent.Redirected, "", 10 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			w := newDeviceWorld(t)
			w.does(c.answer)
			b := w.opened(agentA, zhang, "read")
			w.pass(6 * time.Second)
			wait := w.askAll()
			got := w.read(b)
			if got.State != c.state || got.Reason != c.reason {
				t.Fatalf("%s %q (%s), want %s %q", got.State, got.Reason, got.Message, c.state, c.reason)
			}
			if c.wait == 0 && wait > 0 || c.wait != 0 && (wait > c.wait || wait < c.wait-2*time.Second) {
				t.Errorf("asked again in %s, want %s", wait, c.wait)
			}
		})
	}
}

func says(status int, body string) func(http.ResponseWriter) {
	return func(rw http.ResponseWriter) {
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
	}
}

func TestACodeEnds(t *testing.T) {
	w := newDeviceWorld(t)
	b := w.opened(agentA, zhang, "read")
	w.pass(consent.Life)
	w.askAll()
	if got := w.read(b); got.State != consent.Expired || got.Reason != "consent_not_finished" || w.calls.Load() != 0 {
		t.Errorf("%s %s after %d questions", got.State, got.Reason, w.calls.Load())
	}
	// The code is for the client that the provider had.
	b = w.opened(agentA, zhang, "read")
	w.changeProvider(true)
	w.pass(6 * time.Second)
	w.askAll()
	if got := w.read(b); got.State != consent.Failed || got.Reason != "provider_changed" || w.calls.Load() != 0 {
		t.Errorf("%s %s after %d questions", got.State, got.Reason, w.calls.Load())
	}
}

// TestOneReplicaAsks: many look at the same moment, one asks; one that is gone
// with the question is waited for, and then another asks.
func TestOneReplicaAsks(t *testing.T) {
	w := newDeviceWorld(t)
	b := w.opened(agentA, zhang, "read")
	w.pass(6 * time.Second)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := w.flow.AskDevices(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := w.calls.Load(); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	d, err := w.flow.Devices.Device(t.Context(), b.id)
	must(t, err)
	gone := d
	gone.Due = d.Due.Add(50 * time.Second) // claimed by a replica that was killed
	won, err := w.flow.Devices.MoveDevice(t.Context(), d, gone)
	must(t, err)
	if again, err := w.flow.Devices.MoveDevice(t.Context(), d, gone); err != nil || !won || again {
		t.Fatalf("claimed: %t, then %t, %v", won, again, err)
	}
	w.says(answered)
	w.pass(30 * time.Second)
	if w.askAll(); w.calls.Load() != 1 {
		t.Fatal("two replicas ask")
	}
	w.pass(30 * time.Second)
	if w.askAll(); w.read(b).State != consent.Completed {
		t.Errorf("the authorization is %s", w.read(b).State)
	}
}

// TestKeepAsking: what begins is asked about without a look at the clock in
// between, until the end.
func TestKeepAsking(t *testing.T) {
	w := newDeviceWorld(t)
	w.says(answered)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.flow.KeepAsking(ctx) })
	defer running.Wait()
	defer stop()
	w.pass(-time.Hour) // so that the device is due when time jumps
	b := w.opened(agentA, zhang, "read")
	w.pass(6 * time.Second)
	rung := w.opened(agentB, li, "read") // its beginning wakes who asks
	got, err := w.flow.AwaitResult(t.Context(), b.id, time.Minute, is(person(zhang)))
	if err != nil || got.State != consent.Completed {
		t.Errorf("%s %v", got.State, err)
	}
	if w.read(rung).State != consent.Redirected {
		t.Error("the other one was asked about before its time")
	}
}

func TestWhatHasNoCodes(t *testing.T) {
	w := newWorld(t)
	for field, s := range map[string]provider.Settings{
		"device":      {Options: provider.Options{Device: true}},
		"ownCallback": {Options: provider.Options{Device: true, OwnCallback: true}, Endpoints: vendor.Endpoints{DeviceAuthorization: "https://party.example/device"}},
		"parameters":  {Options: provider.Options{Device: true, Params: map[string]string{"a": "b"}}, Endpoints: vendor.Endpoints{DeviceAuthorization: "https://party.example/device"}},
	} {
		s.Vendor, s.ClientID, s.ClientSecret = "custom", "cli_1", secret.FromString("cs_1")
		s.Endpoints.Authorization, s.Endpoints.Token = w.party.URL+"/authorize", w.party.URL+"/token"
		_, err := w.flow.Providers.Create(t.Context(), name.Caller{Kind: name.Operator, Operator: "root"}, "default", "other", s)
		wantCode(t, err, map[bool]string{true: "device_unsupported", false: "field_not_for_type"}[field == "device"])
	}
}
