package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/accesskey"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
)

// signer signs requests for tokens with an access key.
type signer struct {
	*world
	key reqsign.Key
}

// accessKey makes a key of the agent a.
func (w *world) accessKey(body string) (s signer, id string) {
	w.t.Helper()
	var made struct{ ID, Secret string }
	w.make("/workload-pools/default/workloads/a/access-keys", body, &made)
	return signer{w, reqsign.Key{ID: made.ID, Secret: secret.FromString(made.Secret)}}, made.ID
}

// request is a request for a token, signed now.
func (s signer) request(scheme reqsign.Scheme, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/api/v1/workload-tokens", strings.NewReader(body))
	must(s.t, err)
	r.Header.Set("Content-Type", "application/json")
	scheme.Sign(r, []byte(body), s.key, reqsign.Scope{Region: "any", Service: accesskey.Service}, s.clock.now())
	return r
}

// sent returns the workload that a request proves to be of, or the code of the
// refusal.
func (s signer) sent(r *http.Request) string {
	s.t.Helper()
	got := receive(s.t, noRedirects, r)
	var answer struct{ Workload, Code string }
	must(s.t, json.Unmarshal([]byte(got.body), &answer))
	if got.status == http.StatusOK {
		return answer.Workload
	}
	if got.status != http.StatusUnauthorized {
		s.t.Errorf("%d %s", got.status, got.body)
	}
	return answer.Code
}

// TestSignedRequests has a workload prove itself by signatures of both dialects,
// and everything that is not quite one refused.
func TestSignedRequests(t *testing.T) {
	w := newWorld(t, nil)
	s, id := w.accessKey(`{"name":"nightly"}`)
	const agent = "spiffe://deputy.local/default/a"
	for what, scheme := range map[string]reqsign.Scheme{"Volcengine": reqsign.Volcengine, "AWS": reqsign.AWS} {
		if got := s.sent(s.request(scheme, `{}`)); got != agent {
			t.Errorf("%s: %s", what, got)
		}
	}

	other, _ := w.accessKey(`{"name":"other"}`)
	resigned := func(change func(*http.Request)) *http.Request {
		r := s.request(reqsign.Volcengine, `{}`)
		change(r)
		return r
	}
	for what, bad := range map[string]struct {
		r    *http.Request
		code string
	}{
		"another's secret": {signer{w, reqsign.Key{ID: s.key.ID, Secret: other.key.Secret}}.request(reqsign.Volcengine, `{}`), "signature_wrong"},
		"an unknown key":   {signer{w, reqsign.Key{ID: "ak_none", Secret: s.key.Secret}}.request(reqsign.AWS, `{}`), "access_key_unknown"},
		"another date": {resigned(func(r *http.Request) {
			r.Header.Set("X-Date", s.clock.now().Add(time.Minute).UTC().Format("20060102T150405Z"))
		}), "signature_wrong"},
		"another type":  {resigned(func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }), "signature_wrong"},
		"another query": {resigned(func(r *http.Request) { r.URL.RawQuery = "a=b" }), "signature_wrong"},
		"another service": {resigned(func(r *http.Request) {
			reqsign.Volcengine.Sign(r, []byte(`{}`), s.key, reqsign.Scope{Region: "any", Service: "id"}, s.clock.now())
		}), "scope_wrong"},
		"of yesterday": {resigned(func(r *http.Request) {
			reqsign.Volcengine.Sign(r, []byte(`{}`), s.key, reqsign.Scope{Region: "any", Service: accesskey.Service}, s.clock.now().AddDate(0, 0, -1))
		}), "signature_expired"},
		"of tomorrow": {resigned(func(r *http.Request) {
			reqsign.Volcengine.Sign(r, []byte(`{}`), s.key, reqsign.Scope{Region: "any", Service: accesskey.Service}, s.clock.now().AddDate(0, 0, 1))
		}), "signature_expired"},
		"another body": {func() *http.Request {
			r := s.request(reqsign.Volcengine, `{"user":{"issuer":"https://id.example","subject":"victim"}}`)
			r.Header.Set("Authorization", s.request(reqsign.Volcengine, `{}`).Header.Get("Authorization"))
			return r
		}(), "signature_wrong"},
		"no signature": {resigned(func(r *http.Request) { r.Header.Set("Authorization", "HMAC-SHA256 x") }), "signature_malformed"},
	} {
		if got := s.sent(bad.r); got != bad.code {
			t.Errorf("%s: %s, want %s", what, got, bad.code)
		}
	}

	// What somebody saw on its way is worth nothing.
	first := s.request(reqsign.Volcengine, `{ }`)
	again := first.Clone(t.Context())
	again.Body, _ = first.GetBody()
	if got := s.sent(first); got != agent {
		t.Errorf("the first time: %s", got)
	}
	if got := s.sent(again); got != "signature_replayed" {
		t.Errorf("sent again: %s", got)
	}
	refused := map[string]int{}
	for _, e := range w.entries(url.Values{"action": {"access-key.use"}}) {
		refused[e.Reason]++
	}
	if refused["signature_replayed"] != 1 || refused["scope_wrong"] != 1 || len(refused) != 2 {
		t.Errorf("the audit log has %v", refused)
	}

	var list struct {
		Items []struct {
			ID, Name, Secret string
			LastUsedAt       time.Time
		}
	}
	const at = "/workload-pools/default/workloads/a/access-keys"
	shown := w.api("GET", at, w.operator, "").body
	must(t, json.Unmarshal([]byte(shown), &list))
	if len(list.Items) != 2 || list.Items[0].Name != "nightly" || list.Items[0].LastUsedAt.IsZero() || !list.Items[1].LastUsedAt.IsZero() || strings.Contains(shown, "dsk_") {
		t.Errorf("the keys are %s", shown)
	}
	if got := w.api("DELETE", at+"/"+id, w.operator, ""); got.status != http.StatusNoContent {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := s.sent(s.request(reqsign.Volcengine, `{}`)); got != "access_key_unknown" {
		t.Errorf("when it is deleted: %s", got)
	}
	w.clock.pass(91 * 24 * time.Hour)
	if got := other.sent(other.request(reqsign.AWS, `{}`)); got != "access_key_expired" {
		t.Errorf("when it has expired: %s", got)
	}
	if strings.Contains(w.log.String(), s.key.Secret.RevealString()) {
		t.Error("the secret is in the log")
	}
}

// TestAccessKeysThatAreNone is what operators type.
func TestAccessKeysThatAreNone(t *testing.T) {
	w := newWorld(t, nil)
	const at = "/workload-pools/default/workloads/a/access-keys"
	w.make(at, `{"name":"nightly"}`, nil)
	for what, bad := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"the same name":     {at, `{"name":"nightly"}`, 409, "access-key_exists"},
		"no name":           {at, `{}`, 400, "name_invalid"},
		"for ever":          {at, `{"name":"x","expiresAt":"2199-01-01T00:00:00Z"}`, 400, "access-key_life"},
		"until yesterday":   {at, `{"name":"x","expiresAt":"2020-01-01T00:00:00Z"}`, 400, "access-key_life"},
		"for nobody":        {"/workload-pools/default/workloads/nobody/access-keys", `{"name":"x"}`, 404, "workload_not_found"},
		"of another's pool": {"/workload-pools/none/workloads/a/access-keys", `{"name":"x"}`, 404, ""},
	} {
		got := w.api("POST", bad.path, w.operator, bad.body)
		if got.status != bad.status || !strings.Contains(got.body, bad.code) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	for i := range accesskey.MaxKeys - 1 {
		w.make(at, `{"name":"k`+string(rune('a'+i))+`"}`, nil)
	}
	if got := w.api("POST", at, w.operator, `{"name":"more"}`); got.status != http.StatusConflict || !strings.Contains(got.body, "access_keys_full") {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
	if got := w.api("DELETE", at+"/ak_none", w.operator, ""); got.status != http.StatusNotFound {
		t.Errorf("%d %s", got.status, got.body)
	}
}
