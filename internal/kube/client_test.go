package kube_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/kube/kubetest"
	"github.com/deputy-id/deputy/internal/secret"
)

var account = kube.Object{Kind: kube.Kind{API: "api/v1", Plural: "serviceaccounts"}, Namespace: "agents", Name: "one"}

func manifest(name, label, more string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q,"namespace":"agents","labels":{"of":%q}}%s}`, name, label, more)
}

// What is applied is there, once; what is deleted is not; another one of the same
// name is left alone.
func TestObjects(t *testing.T) {
	c := kube.New(kubetest.New(t).Config())
	defer c.Close()
	var made struct {
		Metadata struct{ UID, ResourceVersion string }
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Apply(t.Context(), account, "test", manifest("one", "us", ""), &made))
	first := made
	must(c.Apply(t.Context(), account, "test", manifest("one", "us", ""), &made))
	if made != first {
		t.Errorf("applied again it is %+v, before %+v", made, first)
	}
	if err := c.Apply(t.Context(), account, "test", manifest("one", "us", `,"replica":1`), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a field that is none: %v", err)
	}
	for n := range 5 {
		other := account
		other.Name = fmt.Sprintf("us-%d", n)
		must(c.Apply(t.Context(), other, "test", manifest(other.Name, "us", ""), nil))
		other.Name = fmt.Sprintf("them-%d", n)
		must(c.Apply(t.Context(), other, "test", manifest(other.Name, "them", ""), nil))
	}
	if err := c.Apply(t.Context(), account, "test", []byte(strings.Replace(string(manifest("one", "us", "")), `"name"`, `"uid":"other","name"`, 1)), nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("of another uid: %v", err)
	}
	found := 0
	must(c.List(t.Context(), account, "of=us", func(b []byte) error {
		found++
		if !strings.Contains(string(b), `"us"`) {
			t.Errorf("found %s", b)
		}
		return json.Unmarshal(b, &made)
	}))
	if found != 6 {
		t.Errorf("%d of 6 found, on several pages", found)
	}
	must(c.Delete(t.Context(), account, "another-uid", false))
	must(c.Get(t.Context(), account, nil))
	must(c.Delete(t.Context(), account, first.Metadata.UID, true))
	must(c.Delete(t.Context(), account, first.Metadata.UID, false))
	if err := c.Get(t.Context(), account, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// The token is read anew for each request, goes nowhere but to the server, and is
// in no error.
func TestToken(t *testing.T) {
	server := kubetest.New(t)
	config := server.Config()
	file := filepath.Join(t.TempDir(), "token")
	config.TokenFile = file
	c := kube.New(config)
	defer c.Close()
	if err := c.Get(t.Context(), account, nil); !fault.HasCode(err, "kubernetes_token") {
		t.Errorf("without a file: %v", err)
	}
	for text, want := range map[string]string{"stale-token\n": "kubernetes_denied", config.Token.RevealString() + "\n": "kubernetes_not_found"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.Get(t.Context(), account, nil)
		if !fault.HasCode(err, want) || strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestHostileServer: answers that no API server gives end in faults of one kind.
func TestHostileServer(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked with %v", r.Header) }))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		code   string
	}{
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "kubernetes_failed"},
		"no JSON":          {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "kubernetes_answer"},
		"an error in HTML": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, "kubernetes_failed"},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "kubernetes_answer"},
		"without end": {func(w http.ResponseWriter, _ *http.Request) {
			for range 8<<10 + 1 {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		}, "kubernetes_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewTLSServer(test.answer)
			defer s.Close()
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			c := kube.New(kube.Config{Server: s.URL, Roots: roots, Token: secret.FromString("the-token")})
			defer c.Close()
			var into map[string]any
			if err := c.Get(t.Context(), account, &into); !fault.HasCode(err, test.code) || strings.Contains(err.Error(), "the-token") {
				t.Errorf("error %v, want %s", err, test.code)
			}
		})
	}
	// A server that is not the one that was meant gets no token.
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer s.Close()
	c := kube.New(kube.Config{Server: s.URL, Roots: x509.NewCertPool(), Token: secret.FromString("the-token")})
	defer c.Close()
	if err := c.Get(t.Context(), account, nil); !fault.HasCode(err, "kubernetes_unreachable") {
		t.Errorf("somebody else's certificate: %v", err)
	}
}
