package obtain

import (
	"regexp"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/name"
)

// TestSessionNames are ones that clouds take, and no two callers have the same.
func TestSessionNames(t *testing.T) {
	shape := regexp.MustCompile(`^[A-Za-z0-9_.@-]{2,64}$`)
	long := strings.Repeat("w", 63)
	seen := map[string]name.Caller{}
	for _, pool := range []string{"default", "a", "c.a", long} {
		for _, workload := range []string{"doc", "b.c", "b", long, long[:62] + "x"} {
			for _, u := range []name.User{{}, {Issuer: "https://a.example", Subject: "li"}, {Issuer: "https://b.example", Subject: "li"}, {Issuer: "https://a.example", Subject: "李"},
				{Issuer: "https://a.example", Subject: strings.Repeat("s", 200)}, {Issuer: "https://a.example", Subject: strings.Repeat("s", 199) + "t"}} {
				c := name.Caller{Workload: name.Workload{Pool: pool, Name: workload}, User: u}
				s := sessionName(c)
				if other, taken := seen[s]; taken || !shape.MatchString(s) {
					t.Errorf("%q for %+v and %+v", s, c, other)
				}
				seen[s] = c
			}
		}
	}
	if s := sessionName(name.Caller{Workload: name.Workload{Pool: "default", Name: "doc"}}); s != "doc@default" {
		t.Errorf("the plain case is %q", s)
	}
}

// FuzzAnswers has token services answer anything: there are keys or there is a
// reason, and nothing panics.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"Result":{"Credentials":{"AccessKeyId":"a","ExpiredTime":"2026-11-22T21:05:47+08:00"}}}`))
	f.Add([]byte(`{"ResponseMetadata":{"Error":{"Code":"NoPermission"}}}`))
	f.Add([]byte(`<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId></Credentials></AssumeRoleResult></AssumeRoleResponse>`))
	f.Add([]byte(`<ErrorResponse><Error><Code>x</Code></Error></ErrorResponse><a/>`))
	f.Add([]byte(`<!DOCTYPE a><ErrorResponse/>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, answer := range []func([]byte) (granted, refusal){volcengineAnswer, awsAnswer} {
			if got, why := answer(body); why.code != "" && got.keyID != "" && got.session != "" && strings.HasPrefix(string(body), "<") {
				t.Errorf("keys and a refusal: %+v %+v", got, why)
			}
		}
	})
}
