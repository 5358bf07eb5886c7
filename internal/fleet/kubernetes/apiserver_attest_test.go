//go:build apiserver

package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// token asks the API server for a token of a service account, as a kubelet does
// (TokenRequest). pod may be "".
func (s *apiServer) token(t *testing.T, namespace, account, pod, audience string) string {
	t.Helper()
	bound := ""
	if pod != "" {
		bound = fmt.Sprintf(`,"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":%q}`, pod)
	}
	body := fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[%q],"expirationSeconds":600%s}}`, audience, bound)
	out, err := outbound.New(outbound.Config{Allow: []string{"127.0.0.0/8"}, Roots: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	answer, err := out.Do(t.Context(), outbound.Request{
		Method: http.MethodPost, URL: s.url + "/api/v1/namespaces/" + namespace + "/serviceaccounts/" + account + "/token", Body: []byte(body),
		Header: http.Header{"Authorization": {"Bearer admin"}, "Content-Type": {"application/json"}},
	})
	var made struct{ Status struct{ Token string } }
	if err == nil {
		err = json.Unmarshal(answer.Body, &made)
	}
	if err != nil || made.Status.Token == "" {
		t.Fatalf("%v, %d %s", err, answer.Status, answer.Body)
	}
	return made.Status.Token
}

// one is a store that has one attestor, once it is there.
type one struct {
	attestor.Store
	there []attestor.Attestor
}

func (s *one) CreateAttestor(_ context.Context, _ guard.Permit, a attestor.Attestor) error {
	s.there = []attestor.Attestor{a}
	return nil
}

func (s *one) Attestor(context.Context, string, string) (attestor.Attestor, error) {
	return s.there[0], nil
}

func (s *one) AttestorsOf(context.Context, ...string) ([]attestor.Attestor, error) {
	return s.there, nil
}

// Append implements guard.Recorder.
func (s *one) Append(context.Context, audit.Entry) error { return nil }

// Seal and Open implement attestor.Sealer.
func (s *one) Seal(_ context.Context, _ keys.Place, plain secret.Text) ([]byte, error) {
	return bytes.Clone(plain.Reveal()), nil
}

func (s *one) Open(_ context.Context, _ keys.Place, sealed []byte) (secret.Text, error) {
	return secret.New(bytes.Clone(sealed)), nil
}

// attestors has the API server vouch for a workload that Deputy did not launch, in
// both ways: by its keys alone, and by a review of each token.
func attestors(t *testing.T, s *apiServer) {
	c := s.cluster(t, "admin")
	const external, audience, issuer = "external", "https://id.example.com", "https://kubernetes.default.svc"
	for path, object := range map[string]string{
		"/api/v1/namespaces": `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"external"}}`,
		// The reviewer, as docs/attestation.md makes it.
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"deputy-reviewer"},
			"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:auth-delegator"},"subjects":[{"kind":"ServiceAccount","name":"deputy-reviewer","namespace":"external"}]}`,
	} {
		c.must(c.do(http.MethodPost, path, "application/json", object))
	}
	for _, account := range []string{"deputy-reviewer", "importer"} {
		c.must(c.do(http.MethodPost, "/api/v1/namespaces/external/serviceaccounts", "application/json", fmt.Sprintf(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q}}`, account)))
	}
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"importer-1"},"spec":{"serviceAccountName":"importer","containers":[{"name":"c","image":"registry.example/importer:1"}]}}`
	reviewer := s.token(t, external, "deputy-reviewer", "", issuer)
	operator := name.Caller{Kind: name.Operator, Operator: "root"}
	rules := []attestor.Rule{{Subject: "external/importer", Workload: "importer"}}
	for what, settings := range map[string]attestor.Settings{
		"by its keys":   {Kind: attestor.Kubernetes, Issuer: issuer, KeysURL: s.url + "/openid/v1/jwks", Rules: rules},
		"by its review": {Kind: attestor.Kubernetes, Issuer: issuer, Server: s.url, Reviewer: secret.FromString(reviewer), Rules: rules},
	} {
		t.Run(what, func(t *testing.T) {
			c.must(c.do(http.MethodPost, "/api/v1/namespaces/external/pods", "application/json", pod))
			store := &one{}
			trust := &attestor.Trust{
				Store: store, Sealer: store, PublicURL: audience, Guard: &guard.Guard{Log: store}, Now: time.Now,
				Reach: func(string) (attestor.Sender, error) { return s.sender(t, settings.Server == "") },
			}
			registry := attestor.Registry{Store: store, Sealer: store, Trust: trust, Guard: trust.Guard, Now: time.Now}
			wrong := settings
			if wrong.Reviewer = secret.FromString("nobody's"); settings.Server != "" {
				if _, err := registry.Create(t.Context(), operator, "default", "prod", wrong); !fault.HasCode(err, "reviewer_denied") {
					t.Errorf("a reviewer that is none: %v", err)
				}
			}
			if _, err := registry.Create(t.Context(), operator, "default", "prod", settings); err != nil {
				t.Fatal(err)
			}
			prove := func(token string) (attest.Proof, error) {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.NopCloser(bytes.NewReader(nil)))
				r.Header.Set("Authorization", "Bearer "+token)
				p, _, err := trust.Attest(r, nil)
				return p, err
			}
			good := s.token(t, external, "importer", "importer-1", audience)
			want := attest.Proof{Workload: name.Workload{Pool: "default", Name: "importer"}, Method: attest.MethodKubernetes, ID: "prod:external/importer"}
			if p, err := prove(good); err != nil || p != want {
				t.Fatalf("%+v, %v", p, err)
			}
			if p, err := prove(s.token(t, external, "importer", "importer-1", issuer)); !fault.HasCode(err, "token_audience") {
				t.Errorf("for the API server: %+v, %v", p, err)
			}
			c.must(c.do(http.MethodDelete, "/api/v1/namespaces/external/pods/importer-1", "application/json", `{"gracePeriodSeconds":0}`))
			if settings.Server == "" {
				if _, err := prove(good); err != nil {
					t.Errorf("keys alone do not tell that the pod is gone, and yet: %v", err)
				}
				return
			}
			soon(t, "the token of a pod that is gone is taken", func() bool {
				_, err := prove(good)
				return fault.HasCode(err, "token_reviewed")
			})
		})
	}
}

// sender asks the API server; one that has no token of its own gets the
// administrator's, because RBAC shows nobody the keys.
func (s *apiServer) sender(t *testing.T, anonymous bool) (attestor.Sender, error) {
	out, err := outbound.New(outbound.Config{Allow: []string{"127.0.0.0/8"}, Roots: s.roots})
	if err != nil {
		return nil, err
	}
	t.Cleanup(out.Close)
	if !anonymous {
		return out, nil
	}
	return asAdmin{out}, nil
}

type asAdmin struct{ attestor.Sender }

// Do implements attestor.Sender.
func (a asAdmin) Do(ctx context.Context, r outbound.Request) (outbound.Response, error) {
	r.Header.Set("Authorization", "Bearer admin")
	return a.Sender.Do(ctx, r)
}
