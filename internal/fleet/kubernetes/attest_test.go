package kubernetes_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet/kubernetes"
)

// proven is what a driver makes of a request with a token.
func proven(t *testing.T, d *kubernetes.Driver, token string) (attest.Proof, bool, error) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/workload-tokens", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return d.Attest(r, nil)
}

// soon waits for a real API server, which remembers for ten seconds that it took a
// token.
func soon(t *testing.T, otherwise string, happens func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !happens() {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-late:
			t.Fatal(otherwise)
		}
	}
}

// attests has pods prove who they are: those that the driver runs, and others.
func attests(t *testing.T, c cluster) {
	d := c.driver()
	_, err := d.Start(t.Context(), run(1))
	c.must(err)
	called := kubernetes.ObjectName(d.TrustDomain, doc)
	// A pod of the agent's, as the Deployment's controller would make it, and one of an account that somebody else made.
	forged := called[:len(called)-1] + "z"
	for pod, account := range map[string]string{"attested": called, "forged": forged, "stranger": "stranger"} {
		if account != called {
			c.must(c.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts", "application/json", fmt.Sprintf(
				`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q,"annotations":{"deputy-id.github.io/workload":%q},"labels":{"app.kubernetes.io/managed-by":"deputy","deputy-id.github.io/trust-domain":%q}}}`,
				account, doc.String(), d.TrustDomain)))
		}
		c.must(c.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", "application/json", fmt.Sprintf(
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"serviceAccountName":%q,
				"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
				"containers":[{"name":"agent","image":%q,"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}`, pod, account, image)))
	}
	good := c.token(called, "attested", d.Audience)
	proof, ok, err := proven(t, d, good)
	if want := (attest.Proof{Workload: doc, Method: attest.MethodKubernetes, ID: namespace + "/" + called + "/attested"}); err != nil || !ok || proof != want {
		t.Fatalf("%+v, %v, %v", proof, ok, err)
	}
	for what, token := range map[string]string{
		"nothing": "", "of an account of another kind": c.token("stranger", "stranger", d.Audience), "for the API server": c.token(called, "attested", "https://kubernetes.default.svc"),
		"altered": good[:strings.LastIndex(good, ".")] + ".AAAA",
	} {
		if proof, ok, err := proven(t, d, token); ok || err != nil {
			t.Errorf("%s: %+v, %v", what, proof, err)
		}
	}
	for what, token := range map[string]string{"of an account with our annotation": c.token(forged, "forged", d.Audience), "of no pod": c.token(called, "", d.Audience)} {
		if proof, ok, err := proven(t, d, token); !ok || !fault.HasCode(err, "proof_unmapped") || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %+v, %v, %v", what, proof, ok, err)
		}
	}
	other := &kubernetes.Driver{Client: d.Client, Namespace: d.Namespace, TrustDomain: "other.test", Audience: d.Audience, Log: d.Log}
	if _, _, err := proven(t, other, good); !fault.HasCode(err, "proof_unmapped") {
		t.Errorf("by a Deputy that did not make it: %v", err)
	}
	c.must(c.do(http.MethodDelete, "/api/v1/namespaces/"+namespace+"/pods/attested", "application/json", `{"gracePeriodSeconds":0}`))
	soon(t, "the token of a pod that is gone is taken", func() bool {
		_, ok, err := proven(t, d, good)
		c.must(err)
		return !ok
	})
	for _, pod := range []string{"forged", "stranger"} {
		c.must(c.do(http.MethodDelete, "/api/v1/namespaces/"+namespace+"/pods/"+pod, "application/json", `{"gracePeriodSeconds":0}`))
	}
	for _, account := range []string{forged, "stranger"} {
		c.must(c.do(http.MethodDelete, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account, "application/json", `{}`))
	}
	c.must(d.Remove(t.Context(), doc))
}

// TestReviewsFail: while the API server does not review, nobody is let in.
func TestReviewsFail(t *testing.T) {
	c, server := inMemory(t)
	d := c.driver()
	_, err := d.Start(t.Context(), run(1))
	c.must(err)
	called := kubernetes.ObjectName(d.TrustDomain, doc)
	c.pod("attested", 1, `{}`)
	token := c.token(called, "attested", d.Audience)
	server.Refuse("create authentication.k8s.io/tokenreviews", http.StatusForbidden)
	if proof, ok, err := proven(t, d, token); !ok || !fault.HasCode(err, "kubernetes_denied") {
		t.Errorf("%+v, %v, %v", proof, ok, err)
	}
}
