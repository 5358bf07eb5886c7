package feishu

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestBounded(t *testing.T) {
	b := newBounded[int](3)
	for i := range 10 {
		b.add(strconv.Itoa(i), i)
		if len(b.items) > 3 || len(b.order) > 3 {
			t.Fatalf("after %d: %d items, %d keys", i, len(b.items), len(b.order))
		}
	}
	for key, want := range map[string]bool{"6": false, "7": true, "8": true, "9": true} {
		if _, got := b.items[key]; got != want {
			t.Errorf("%s kept: %t", key, got)
		}
	}
}

func TestIssuedIsBounded(t *testing.T) {
	s := newState()
	for range 3 * maxIssued {
		s.record("code", "x")
	}
	if len(s.issued) > maxIssued {
		t.Errorf("%d values kept", len(s.issued))
	}
}

// Every scope is explained in both languages.
func TestScopeWords(t *testing.T) {
	for name, w := range scopeWords {
		if w.Chinese == "" || w.English == "" || strings.ContainsAny(name, " ") {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// What parses as JSON parameters says the same when written again.
func FuzzJSONParams(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":"b","c":null}`, `{"a":"b","a":"c"}`, `{"a":1}`, `[]`, `{"a":"b"} x`, "{\"\\u0061\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		params, err := jsonParams(body)
		if err != nil {
			return
		}
		again, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		reparsed, err := jsonParams(again)
		if err != nil || len(reparsed) != len(params) {
			t.Fatalf("%q became %q: %v", body, again, err)
		}
		for name, value := range params {
			if reparsed[name] != value {
				t.Errorf("%q: %q became %q", name, value, reparsed[name])
			}
		}
	})
}

func FuzzFormParams(f *testing.F) {
	for _, seed := range []string{``, `a=b&c=d`, `a=b&a=c`, `a=%zz`, `a;b`, `=`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		params, err := formParams(body)
		if err != nil {
			return
		}
		form := url.Values{}
		for name, value := range params {
			form.Set(name, value)
		}
		reparsed, err := formParams([]byte(form.Encode()))
		if err != nil || len(reparsed) != len(params) {
			t.Fatalf("%q became %q: %v", body, form.Encode(), err)
		}
	})
}

// No query makes the authorize page panic or accept a redirect URI that is not registered.
func FuzzAuthorize(f *testing.F) {
	const registered = "http://localhost/cb"
	s, err := New(Config{Apps: []App{{ID: "cli", Secret: "s", RedirectURIs: []string{registered}, Scopes: []string{offlineAccess}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("client_id=cli&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%2Fcb&scope=offline_access")
	f.Add("client_id=cli&redirect_uri=http://localhost/cb%00")
	f.Fuzz(func(t *testing.T, query string) {
		req, problem := s.parseAuthorize(query)
		if problem == nil && (req.redirectURI != registered || req.app.ID != "cli") {
			t.Errorf("accepted %q", req.redirectURI)
		}
	})
}
