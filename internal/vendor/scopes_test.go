package vendor_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/deputy-id/deputy/internal/vendor"
)

// TestScopesHaveSeveralNames: what a vendor calls otherwise than whoever asked
// for it, or leaves out because something else includes it, was granted.
func TestScopesHaveSeveralNames(t *testing.T) {
	for _, c := range []struct{ vendor, asked, granted, missing string }{
		{"google", "openid email profile", "https://www.googleapis.com/auth/userinfo.email openid https://www.googleapis.com/auth/userinfo.profile", ""},
		{"google", "https://www.googleapis.com/auth/userinfo.email", "openid email", ""},
		{"google", "email profile", "https://www.googleapis.com/auth/userinfo.email", "profile"},
		{"github", "user gist user:email", "gist,user", ""},
		{"github", "admin:org read:org", "admin:org", ""},
		{"github", "read:org write:org", "read:org", "write:org"},
		{"github", "repo public_repo", "public_repo", "repo"},
		{"gitlab", "email", "https://www.googleapis.com/auth/userinfo.email", "email"},
	} {
		f := setUp(t, c.vendor)
		said, err := json.Marshal(c.granted)
		if err != nil {
			t.Fatal(err)
		}
		f.status, f.body = 200, `{"access_token":"`+accessToken+`","token_type":"bearer","scope":`+string(said)+`}`
		for step, do := range map[string]func() (vendor.Tokens, error){"exchange": f.exchange, "refresh": f.refresh} {
			got, err := do()
			if err != nil {
				t.Fatal(err)
			}
			if missing := got.Scopes.Missing(scopes(t, c.asked)).String(); missing != c.missing {
				t.Errorf("%s at %s: asked %q and granted %q lacks %q, want %q", step, c.vendor, c.asked, c.granted, missing, c.missing)
			}
		}
	}
	if unknown, _ := lookup(t, "google").UnknownScopes(scopes(t, "email https://www.googleapis.com/auth/userinfo.profile")); unknown.Len() > 0 {
		t.Errorf("unknown: %s", unknown)
	}
}

// TestScopesThatAreToldOnlyWhenAskedFor: Gitea gives a token for what it granted
// first, whatever it is asked for later, and the answer does not say so.
func TestScopesThatAreToldOnlyWhenAskedFor(t *testing.T) {
	f := setUp(t, "gitea")
	for what, c := range map[string]struct {
		told, introspected string
		scopes             string
		known              bool
	}{
		"not with the token": {``, `{"active":true,"scope":"read:user read:repository"}`, "read:repository read:user", true},
		"with the token":     {`,"scope":"read:user"`, `{"active":true,"scope":"read:repository"}`, "read:user", true},
		"nowhere":            {``, `{"active":true}`, "", false},
		"no answer":          {``, `{"error":"server_error"}`, "", false},
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"` + accessToken + `","token_type":"bearer"` + c.told + `}`))
		})
		mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
			if id, password, _ := r.BasicAuth(); id != "cli_1" || password != clientSecret || r.PostFormValue("token") != accessToken {
				t.Errorf("%s: asked by %q about %q", what, id, r.PostFormValue("token"))
			}
			_, _ = w.Write([]byte(c.introspected))
		})
		server := httptest.NewServer(mux)
		f.entry.Endpoints.Token, f.entry.Endpoints.Introspection = server.URL+"/token", server.URL+"/introspect"
		got, err := f.exchange()
		server.Close()
		if err != nil || got.Access.RevealString() != accessToken || got.ScopesKnown != c.known || got.Scopes.String() != c.scopes {
			t.Errorf("%s: %q, known %v, %v", what, got.Scopes, got.ScopesKnown, err)
		}
	}
}

// TestOneWordForManyErrors: Gitea says unauthorized_client to nearly everything,
// and what it means in the description.
func TestOneWordForManyErrors(t *testing.T) {
	f := setUp(t, "gitea")
	f.status = http.StatusBadRequest
	for description, want := range map[string]struct {
		at    func() (vendor.Tokens, error)
		class vendor.Class
	}{
		"invalid client secret":         {f.exchange, vendor.ClassConfig},
		"client is not authorized":      {f.exchange, vendor.ClassUser},
		"unexpected redirect URI":       {f.exchange, vendor.ClassApp},
		"token was already used":        {f.refresh, vendor.ClassRace},
		"unable to parse refresh token": {f.refresh, vendor.ClassReauthorize},
		"something new":                 {f.refresh, vendor.ClassConfig}, // what the word means elsewhere
	} {
		f.body = `{"error":"unauthorized_client","error_description":"` + description + `"}`
		var failure *vendor.Failure
		if _, err := want.at(); !errors.As(err, &failure) || failure.Class != want.class || failure.VendorCode != "unauthorized_client" {
			t.Errorf("%s: %v", description, err)
		}
	}
	// What the word beside an unknown description would end is not ended.
	f.body = `{"error":"invalid_grant","error_description":"cannot increase the grant counter"}`
	var failure *vendor.Failure
	if _, err := f.refresh(); !errors.As(err, &failure) || failure.Class != vendor.ClassRetry {
		t.Errorf("got %v", err)
	}
}
