package federation

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vendor"
)

// FuzzMapping holds that whatever a provider tells, nobody is taken for the one
// whose address or id is nearly the same, and what comes of it is a user who may
// be stored.
func FuzzMapping(f *testing.F) {
	f.Add(`{"sub":"1","email":"a@example.com","email_verified":true,"name":"张三","phone_number":"+86 10 1234 5678"}`)
	f.Add(`{"sub":"a\u200bb","email":" a\u200b@example.com ","email_verified":true}`)
	f.Add(`{"sub":12345678901234567890,"email":"A\u0000@example.com","email_verified":"true"}`)
	f.Add(`{"sub":{"a":1},"email":["a@example.com"],"name":"\ud800"}`)
	f.Fuzz(func(t *testing.T, body string) {
		p := idp.Provider{ID: "idp_1", Pool: "staff", Name: "other", Type: idp.OAuth2, LinkByVerifiedEmail: true}
		info := vendor.ParseProfile([]byte(body))
		id := mapped(p.Paths(), info)
		id.Subject = info.Exact(p.Paths().Subject)
		var told map[string]any
		if json.Unmarshal([]byte(body), &told) != nil {
			told = nil
		}
		for member, got := range map[string]string{"sub": id.Subject, "email": id.Email} {
			if s, text := told[member].(string); text && got != "" && got != s {
				t.Errorf("%q: %s is %q", body, member, got)
			}
		}
		if id.EmailVerified && (id.Email == "" || told != nil && told["email_verified"] != true) {
			t.Errorf("%q: %q counts as verified", body, id.Email)
		}
		u := apply(userpool.User{ID: "usr_1", Pool: "staff", UserName: (&Federation{}).unused(p, id, 0)}, p, id)
		if err := u.Check(); err != nil || !utf8.ValidString(u.DisplayName) || strings.ContainsAny(u.DisplayName, "\r\n\x00") {
			t.Errorf("%q makes a user who may not be stored: %v", body, err)
		}
	})
}
