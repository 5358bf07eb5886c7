package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

type authorization struct {
	ID, State, Reason, Message, URL, Provider string
	Scopes                                    []string
	ExpiresAt                                 time.Time
}

// link asks for a credential that nobody has given yet.
func (w *world) link() authorization {
	w.t.Helper()
	var got struct {
		Status        string
		Credential    any
		Authorization authorization
	}
	w.expectFrom(w.agent, 200, "POST", "/credentials", `{"provider":"feishu"}`, &got)
	if got.Status != "authorization_required" || got.Credential != nil {
		w.t.Fatalf("got %+v", got)
	}
	return got.Authorization
}

// denial returns what happens when the third party answers that the user does
// not want it.
func (w *world) denial(id string) func() error {
	w.t.Helper()
	authorizations := store.Authorizations{DB: w.db}
	a, err := authorizations.Authorization(w.t.Context(), id)
	must(w.t, err)
	permit := storetest.Permit(w.t, consent.ActionExchange, a.Resource())
	a.State, a.Reason, a.Message, a.Version = consent.Failed, "access_denied", "the user said no", a.Version+1
	return func() error { return authorizations.Advance(w.t.Context(), permit, consent.ActionExchange, a) }
}

func TestAnAuthorizationIsAskedForOnce(t *testing.T) {
	w := newWorld(t)
	a, again := w.link(), w.link()
	if a.ID != again.ID || a.URL != again.URL || a.State != "pending" || a.Provider != "feishu" || strings.Join(a.Scopes, " ") != readDoc ||
		!strings.HasPrefix(a.URL, publicURL+"/authorize?request_uri=urn:deputy:authorization:lnk_") || !a.ExpiresAt.After(time.Now()) {
		t.Errorf("got %+v and %+v", a, again)
	}
	// The link is not told again: whoever may read the state needs no link.
	var read authorization
	w.expectFrom(w.agent, 200, "GET", "/authorizations/"+a.ID+"?wait=1ms", "", &read)
	if read.ID != a.ID || read.State != "pending" || read.URL != "" {
		t.Errorf("got %+v", read)
	}
}

// TestAWaitEndsWithTheState: a long poll answers, and a stream ends, when there
// is nothing more to wait for.
func TestAWaitEndsWithTheState(t *testing.T) {
	w := newWorld(t)
	a := w.link()
	lines := follow(t, w.url+"/api/v1/authorizations/"+a.ID+"/events", w.agent, "")
	if got := next(t, lines, "data: "); !strings.Contains(got, `"state":"pending"`) {
		t.Errorf("got %s", got)
	}
	deny, denied := w.denial(a.ID), make(chan error, 1)
	go func() { denied <- deny() }()
	var got, told authorization
	w.expectFrom(w.agent, 200, "GET", "/authorizations/"+a.ID+"?wait=60s", "", &got)
	must(t, <-denied)
	must(t, json.Unmarshal([]byte(next(t, lines, "data: ")), &told))
	if got.State != "failed" || got.Reason != "access_denied" || got.Message != "the user said no" || told.State != "failed" {
		t.Errorf("the poll says %+v, the stream %+v", got, told)
	}
	for lines.Scan() {
		if lines.Text() != "" {
			t.Errorf("after the end comes %q", lines.Text())
		}
	}
	must(t, lines.Err())
}

func TestAnAuthorizationIsNobodyElses(t *testing.T) {
	w := newWorld(t)
	id := w.link().ID
	w.create("/workload-pools/default/workloads", `{"name":"x"}`, nil)
	w.create("/workload-pools", `{"name":"other"}`, nil)
	w.create("/workload-pools/other/workloads", `{"name":"doc"}`, nil)
	for what, token := range map[string]string{
		"another user":  w.tokenFor(docAgent, name.User{Issuer: zhang.Issuer, Subject: "usr_li"}),
		"same subject":  w.tokenFor(docAgent, name.User{Issuer: "https://other.example", Subject: zhang.Subject}),
		"no user":       w.tokenFor(docAgent, name.User{}),
		"another agent": w.tokenFor(name.Workload{Pool: "default", Name: "x"}, zhang),
		"another pool":  w.tokenFor(name.Workload{Pool: "other", Name: "doc"}, zhang),
	} {
		for _, path := range []string{"", "?wait=60s", "/events"} {
			t.Run(what+path, func(t *testing.T) {
				got := w.send("GET", "/api/v1/authorizations/"+id+path, "", map[string][]string{"Authorization": {"Bearer " + token}})
				checkProblem(t, got, hostile{status: 404, code: "authorization_not_found"})
			})
		}
	}
}

func TestClearingIsIdempotent(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		w.expectFrom(w.agent, 204, "DELETE", "/credentials/feishu", "", nil)
	}
}
