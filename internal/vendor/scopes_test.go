package vendor_test

import (
	"encoding/json"
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
