package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
	deputy "github.com/deputy-id/deputy/sdk"
)

// elsewhere starts an agent that Deputy does not run and no ingress stands before:
// it reads documents, as the workload doc, which the file of its platform proves.
func (o *outside) elsewhere(t *testing.T, file string) string {
	t.Helper()
	read := deputy.NewTool("read", "Reads a document.", func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.party.URL+strings.ReplaceAll(feishu.RawContentPath, "{document_id}", feishu.DefaultDocuments()[0].ID), nil)
		if err != nil {
			return "", err
		}
		res, err := call.HTTP.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return string(text), err
	}, deputy.OAuth2("feishu_oauth", readDoc).At(o.party.URL))
	agent := &deputy.Agent{
		Name: "doc", Log: slog.New(slog.DiscardHandler), Tools: []deputy.Tool{read},
		Deputy: &deputy.Client{URL: o.url, Workload: docID, TokenFile: file, Direct: true, Now: o.clock.now},
		Respond: func(ctx context.Context, turn *deputy.Turn) error {
			var text string
			if err := turn.Call(ctx, "read", nil, &text); err != nil {
				return err
			}
			turn.Say(fmt.Sprintf("for %s, called by %v: %s", turn.Session.User.Subject, turn.Chain, text))
			return nil
		},
	}
	h, err := agent.Handler()
	must(t, err)
	at := httptest.NewServer(h)
	t.Cleanup(at.Close)
	return at.URL + "/invoke"
}

// TestAnAgentThatRunsElsewhere has users, and an agent that they use, come to an
// agent on a cluster and to one in a SPIFFE trust domain, and each of the two acts
// for them, and for nobody who is not let in.
func TestAnAgentThatRunsElsewhere(t *testing.T) {
	for platform, proof := range map[string]func(o *outside) string{
		"kubernetes": func(o *outside) string {
			o.vouch("default", o.attestor("prod", `[{"subject":"agents/*","workload":"*"}]`))
			return o.cluster.Issue(o.projected("agents", "doc-1"))
		},
		"spiffe": func(o *outside) string {
			o.vouch("default", fmt.Sprintf(`{"name":"prod","kind":"spiffe","issuer":%q,"bundleUrl":%q,"rules":[{"subject":"/ns/agents/sa/*","workload":"*"}]}`, trustDomain, o.domain.URL+"/bundle"))
			return o.svid(nil)
		},
	} {
		t.Run(platform, func(t *testing.T) {
			o := newOutside(t)
			file := filepath.Join(t.TempDir(), "token")
			must(t, writeFile(file, proof(o)))
			agent := o.elsewhere(t, file)
			zhangsan := o.person("zhangsan").logIn()
			own := zhangsan.accessToken()
			come := func(token string) answer {
				return send(t, noRedirects, "POST", agent, strings.NewReader(`{"prompt":"read"}`), http.Header{"Authorization": {"Bearer " + token}})
			}
			if got := come(own); got.status != http.StatusForbidden || !strings.Contains(got.body, "user_tokens_not_taken") {
				t.Errorf("before anybody said whose tokens count: %d %s", got.status, got.body)
			}
			settings := fmt.Sprintf(`{"callers":["b"],"userTokens":{"discoveryUrl":"%s/.well-known/openid-configuration","allowedAudiences":[%q]}}`, o.issuer(), o.client)
			if got := o.api("PUT", "/workload-pools/default/workloads/doc", o.operator, settings); got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}

			r, err := http.NewRequestWithContext(t.Context(), "POST", agent, strings.NewReader(`{"prompt":"read"}`))
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+own)
			res, err := noRedirects.Do(r)
			must(t, err)
			defer res.Body.Close()
			var told strings.Builder
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				told.WriteString(lines.Text())
				if link := linkInAnswer.FindStringSubmatch(lines.Text()); link != nil {
					zhangsan.authorize(link[1])
				}
			}
			title := feishu.DefaultDocuments()[0].Title
			if want := "for " + o.subject["zhangsan"] + ", called by []"; !strings.Contains(told.String(), want) || !strings.Contains(told.String(), title) {
				t.Errorf("zhangsan is told %s", told.String())
			}

			// Another agent calls it for him: what he agreed to is this agent's, whoever calls.
			var call struct{ Token string }
			must(t, json.Unmarshal([]byte(o.api("POST", "/call-tokens", o.wat("b", "zhangsan"), `{"agent":"doc"}`).body), &call))
			if got := come(call.Token); got.status != http.StatusOK || !strings.Contains(got.body, "called by [spiffe://deputy.local/default/b]") || !strings.Contains(got.body, title) {
				t.Errorf("called by an agent: %d %s", got.status, got.body)
			}
			settings = strings.Replace(settings, `["b"]`, `[]`, 1)
			if got := o.api("PUT", "/workload-pools/default/workloads/doc", o.operator, settings); got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			for what, bad := range map[string]struct {
				token  string
				status int
				code   string
			}{
				"a token that is none":         {"nonsense", 401, "token_malformed"},
				"the agent's own token":        {o.wat("doc", "zhangsan"), 401, "token_"},
				"a call when b may no more":    {call.Token, 403, "caller_not_allowed"},
				"a user's, changed on the way": {own[:len(own)-4] + "AAAA", 401, "token_signature"},
			} {
				if got := come(bad.token); got.status != bad.status || !strings.Contains(got.body, `"code":"`+bad.code) {
					t.Errorf("%s: %d %s", what, got.status, got.body)
				}
			}
			must(t, writeFile(file, "the platform's proof, when it has ended"))
			if got := come(own); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "exchange_failed") {
				t.Errorf("without a proof of its own: %d %s", got.status, got.body)
			}
		})
	}
}
