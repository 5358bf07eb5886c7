package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/google/go-cmp/cmp"
)

func TestPKCE(t *testing.T) {
	// RFC 7636, appendix B.
	verifier := secret.FromString("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	if got := oauth.Challenge(verifier); got != challenge {
		t.Errorf("challenge %s", got)
	}
	if !oauth.VerifyChallenge(challenge, verifier) {
		t.Error("the verifier of the RFC is refused")
	}
	for name, v := range map[string]string{
		"another":    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl",
		"empty":      "",
		"short":      strings.Repeat("a", 42),
		"long":       strings.Repeat("a", 129),
		"characters": strings.Repeat("a", 43) + "+",
	} {
		bad := secret.FromString(v)
		if name != "another" && oauth.VerifyChallenge(oauth.Challenge(bad), bad) {
			t.Errorf("%s: accepted", name)
		}
		if oauth.VerifyChallenge(challenge, bad) {
			t.Errorf("%s: accepted for a challenge that is not its own", name)
		}
	}
	fresh := oauth.NewVerifier()
	if !oauth.VerifyChallenge(oauth.Challenge(fresh), fresh) || secret.Equal(fresh, oauth.NewVerifier()) {
		t.Error("a fresh verifier is not usable or not fresh")
	}
	if err := oauth.CheckChallenge(challenge, "S256"); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{challenge, "plain"}, {challenge, ""}, {"", "S256"}, {challenge + "=", "S256"}, {challenge[1:], "S256"}, {challenge[:42] + "N", "S256"}, {challenge[:42] + "!", "S256"}} {
		if err := oauth.CheckChallenge(c[0], c[1]); !fault.HasCode(err, "pkce_challenge_invalid") {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestCheckRegistered(t *testing.T) {
	for uri, ok := range map[string]bool{
		"https://app.example.com/callback":               true,
		"https://app.example.com/callback?tenant=1":      true,
		"https://app.example.com:8443/":                  true,
		"https://app.example.com":                        true,
		"http://localhost:8082/callback":                 true,
		"http://127.0.0.1:8082/callback":                 true,
		"http://127.8.8.8/callback":                      true,
		"http://[::1]:8082/callback":                     true,
		"http://app.example.com/callback":                false,
		"http://localhost.evil.example/callback":         false,
		"http://127.0.0.1.evil.example/":                 false,
		"https://app.example.com/callback#x":             false,
		"https://app.example.com/callback#":              false,
		"https://user@app.example.com/callback":          false,
		"https://127.0.0.1:80@evil.example/":             false,
		"https://*.example.com/callback":                 false,
		"https://app.example.com/*":                      false,
		"https://app.example.com\\@evil.example/":        false,
		"https://app.example.com/ callback":              false,
		"https://app.example.com/call\nback":             false,
		"https://äpp.example.com/":                       false,
		"//app.example.com/callback":                     false,
		"/callback":                                      false,
		"":                                               false,
		"javascript:alert(1)":                            false,
		"https:app.example.com":                          false,
		"https:///callback":                              false,
		"https://:8080/callback":                         false,
		"com.example.app:/callback":                      false,
		"https://app.example.com/%zz":                    false,
		"https://a.example/" + strings.Repeat("a", 2000): false,
	} {
		err := oauth.CheckRegistered(uri)
		if (err == nil) != ok || (err != nil && !fault.HasCode(err, "redirect_uri_invalid")) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func TestRegisteredIsExact(t *testing.T) {
	registered := []string{"https://a.example/cb", ""}
	if !oauth.Registered(registered, "https://a.example/cb") {
		t.Error("the registered address is refused")
	}
	for _, uri := range []string{"", "https://a.example/cb/", "https://A.example/cb", "https://a.example/cb?x", "https://a.example:443/cb", "https://a.example/c%62", "https://a.example/"} {
		if oauth.Registered(registered, uri) {
			t.Errorf("%q is accepted", uri)
		}
	}
}

func TestRegisteredLoopbackHasAnyPort(t *testing.T) {
	registered := []string{"http://127.0.0.1/cb", "http://[::1]/cb?x=1", "http://localhost", "http://127.0.0.1:80/fixed", "https://a.example/cb"}
	for uri, want := range map[string]bool{
		"http://127.0.0.1/cb":                   true,
		"http://127.0.0.1:49152/cb":             true,
		"http://[::1]:49152/cb?x=1":             true,
		"http://localhost:1":                    true,
		"http://127.0.0.1:49152/cb/":            false,
		"http://127.0.0.1:49152/cb?x":           false,
		"http://127.0.0.1:49152/CB":             false,
		"http://127.0.0.2:49152/cb":             false,
		"http://localhost:49152/cb":             false,
		"http://[::1]:49152/cb":                 false,
		"http://127.0.0.1:81/fixed":             false,
		"https://127.0.0.1:49152/cb":            false,
		"https://a.example:8443/cb":             false,
		"http://127.0.0.1:/cb":                  false,
		"http://127.0.0.1:x/cb":                 false,
		"http://127.0.0.1:1@evil.example/cb":    false,
		"http://127.0.0.1:49152#@evil.example/": false,
		"HTTP://127.0.0.1:49152/cb":             false,
	} {
		if got := oauth.Registered(registered, uri); got != want {
			t.Errorf("%s: %v", uri, got)
		}
	}
}

func FuzzCheckRegistered(f *testing.F) {
	f.Add("https://a.example/cb?x=1")
	f.Add("http://127.0.0.1@evil.example/")
	f.Add("http://[::1%25eth0]/")
	f.Fuzz(func(t *testing.T, uri string) {
		if oauth.CheckRegistered(uri) != nil {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(uri, "\\#*\r\n ") {
			t.Errorf("%q was accepted", uri)
		}
		if u.Scheme != "https" && !oauth.Loopback(u.Hostname()) {
			t.Errorf("%q was accepted", uri)
		}
	})
}

func form(body string) *http.Request {
	r := httptest.NewRequest("POST", "/token?client_secret=in-the-url", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	return r
}

func TestParseForm(t *testing.T) {
	v, err := oauth.ParseForm(form("grant_type=authorization_code&code=a%20b&empty="), 1000)
	if err != nil || !cmp.Equal(v, url.Values{"grant_type": {"authorization_code"}, "code": {"a b"}}) {
		t.Errorf("got %v, %v", v, err)
	}
	v, err = oauth.ParseForm(form("audience=a&audience=b&audience="), 1000, "audience")
	if err != nil || !cmp.Equal(v, url.Values{"audience": {"a", "b"}}) {
		t.Errorf("got %v, %v", v, err)
	}
	get := form("a=b")
	get.Method = "GET"
	jsonBody := form("{}")
	jsonBody.Header.Set("Content-Type", "application/json")
	untyped := form("a=b")
	untyped.Header.Del("Content-Type")
	for name, c := range map[string]struct {
		r    *http.Request
		code string
	}{
		"repeated":           {form("code=a&code=b"), "form_parameter_repeated"},
		"repeated and empty": {form("code=a&code="), "form_parameter_repeated"},
		"too large":          {form("code=" + strings.Repeat("x", 1000)), "body_too_large"},
		"semicolon":          {form("a=b;c=d"), "form_invalid"},
		"encoding":           {form("a=%zz"), "form_invalid"},
		"not UTF-8":          {form("a=%ff"), "form_invalid"},
		"GET":                {get, "form_invalid"},
		"JSON":               {jsonBody, "form_invalid"},
		"no type":            {untyped, "form_invalid"},
	} {
		if _, err := oauth.ParseForm(c.r, 1000); !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTooManyParameters(t *testing.T) {
	v := url.Values{}
	for i := range 101 {
		v.Set("p"+strings.Repeat("x", i), "1")
	}
	if _, err := oauth.ParseQuery(v.Encode()); !fault.HasCode(err, "form_invalid") {
		t.Errorf("got %v", err)
	}
}

func TestFormErrorsDoNotQuoteValues(t *testing.T) {
	for _, body := range []string{"client_secret=s3cret%zz", "client_secret=s3cret&client_secret=s3cret", "client_secret=s3cret;"} {
		_, err := oauth.ParseForm(form(body), 1000)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("a=b&c=d")
	f.Add("a=b&a=c")
	f.Add("%61=1&a=2")
	f.Fuzz(func(t *testing.T, query string) {
		v, err := oauth.ParseQuery(query)
		if err != nil {
			return
		}
		again, err := oauth.ParseQuery(v.Encode())
		if err != nil || !cmp.Equal(v, again) {
			t.Errorf("%q: %v became %v, %v", query, v, again, err)
		}
	})
}

func TestErrorKeepsToTheCharactersOfTheRFC(t *testing.T) {
	e := oauth.NewError("invalid_request\r\n", "it \"is\" wr\\ong\x00: ä"+strings.Repeat("x", 1000))
	if e.Code != "invalid_request??" || !strings.HasPrefix(e.Description, "it ?is? wr?ong?: ??x") || len(e.Description) != 500 {
		t.Errorf("got %q %q", e.Code, e.Description)
	}
	b, err := json.Marshal(oauth.NewError("invalid_grant", ""))
	if err != nil || string(b) != `{"error":"invalid_grant"}` {
		t.Errorf("got %s, %v", b, err)
	}
	if got := oauth.NewError("access_denied", "no").Values("st").Encode(); got != "error=access_denied&error_description=no&state=st" {
		t.Errorf("got %s", got)
	}
	if got := oauth.NewError("a", "b").Error() + oauth.NewError("c", "").Error(); got != "a: bc" {
		t.Errorf("got %s", got)
	}
}
