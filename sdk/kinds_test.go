package deputy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	deputy "github.com/deputy-id/deputy/sdk"
)

var cloudKeys = map[string]string{"type": "sts", "cloud": "aws", "region": "us-east-1", "accessKeyId": "ASIA1", "secretAccessKey": "s", "sessionToken": "t",
	"expiresAt": "2026-11-23T08:00:00Z"}

// TestEveryKindReachesTheThirdParty has a tool use an API key and a password,
// in the headers that the operator said.
func TestEveryKindReachesTheThirdParty(t *testing.T) {
	for what, c := range map[string]struct {
		credential   map[string]string
		declared     deputy.Credential
		header, want string
	}{
		"a key in its own header": {map[string]string{"type": "api_key", "apiKey": "k-1", "header": "X-Api-Key"}, deputy.APIKey("p"), "X-Api-Key", "k-1"},
		"a key as a bearer":       {map[string]string{"type": "api_key", "apiKey": "k-2", "header": "Authorization", "prefix": "Bearer "}, deputy.APIKey("p"), "Authorization", "Bearer k-2"},
		"a password":              {map[string]string{"type": "basic", "username": "bot", "password": "pass:word"}, deputy.Basic("p"), "Authorization", "Basic Ym90OnBhc3M6d29yZA=="},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				s.deputy.Keep("p", c.credential)
				s.deputy.Keep("cloud", cloudKeys)
				s.third = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get(c.header)) }
				tool := deputy.NewTool("look", "", func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
					keys, err := call.Keys(ctx, "cloud")
					if err != nil {
						return "", err
					}
					resp, err := call.HTTP.Get(thirdURL)
					if err != nil {
						return "", err
					}
					defer resp.Body.Close()
					b, err := io.ReadAll(resp.Body)
					return keys.AccessKeyID + " " + string(b), err
				}, c.declared.At(thirdURL))
				s.play(t, &deputy.Agent{Tools: []deputy.Tool{tool}, Respond: respondWith("look", nil)})
				if got := s.invoke(t.Context(), t, alice, "hello").final(); got != "ASIA1 "+c.want {
					t.Errorf("the third party saw %q", got)
				}
			})
		})
	}
}

func TestTemporaryKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		s.deputy.Keep("cloud", cloudKeys)
		s.deputy.Keep("key", map[string]string{"type": "api_key", "apiKey": "k", "header": "X-Api-Key"})
		s.deputy.Keep("broken", map[string]string{"type": "sts", "accessKeyId": "ASIA1"})
		s.deputy.Keep("unknown", map[string]string{"type": "of the future"})
		c, wat := s.client(), s.deputy.Mint(alice)
		keys, err := c.Keys(t.Context(), wat, "cloud")
		if err != nil || keys.AccessKeyID != "ASIA1" || keys.SecretAccessKey.Reveal() != "s" || keys.SessionToken.Reveal() != "t" || keys.Region != "us-east-1" || keys.Expires.IsZero() {
			t.Errorf("keys = %+v, error = %v", keys, err)
		}
		var e *deputy.Error
		for provider, code := range map[string]string{"key": "credential_type", "broken": "answer_malformed", "mail": "credential_type"} {
			if _, err := c.Keys(t.Context(), wat, provider); !errors.As(err, &e) || e.Code != code {
				t.Errorf("keys of %s: %v", provider, err)
			}
		}
		for provider, code := range map[string]string{"cloud": "credential_type", "unknown": "answer_malformed"} {
			if _, err := c.Token(t.Context(), wat, deputy.APIKey(provider), false); !errors.As(err, &e) || e.Code != code {
				t.Errorf("token of %s: %v", provider, err)
			}
		}
	})
}
