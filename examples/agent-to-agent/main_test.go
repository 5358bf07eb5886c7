package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

func TestItAsksTheOther(t *testing.T) {
	d := deputytest.Start(t)
	alice := deputy.User{Issuer: "https://login.example", Subject: "alice"}
	d.Agent("feishu-doc-agent", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append([]byte(r.Header.Get("user_id")+" asks "), b...))
	}))
	a := newAgent("")
	a.Deputy = d.Client()
	h, err := a.Handler()
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, "/invoke", strings.NewReader(`{"prompt":"sum up"}`))
	req.Header.Set("WorkloadAccessToken", d.Mint(alice).Reveal())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if want := `I ask feishu-doc-agent. It says:\n\nalice asks {\"prompt\":\"sum up\"}`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("%s", w.Body)
	}
}
