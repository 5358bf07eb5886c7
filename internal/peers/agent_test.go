package peers_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/workload"
	"github.com/deputy-id/deputy/internal/workload/workloadtest"
)

// agent is one that acts for the world's user.
type agent struct {
	w      *world
	tokens *workload.Tokens
}

// agent makes the workload "doc" in the default pool.
func (w *world) agent() *agent {
	w.t.Helper()
	w.call(w.operator(), "/workload-pools/default/workloads", map[string]string{"name": "doc"}, nil)
	plain, err := keys.ReadRootFile(filepath.Join(w.Dir, "root.key"))
	w.must(err)
	root, err := keys.NewLocal(plain)
	w.must(err)
	ring, err := keys.NewRing(w.t.Context(), root, store.Keys{DB: w.pools.DB}, w.guard, nil)
	w.must(err)
	signing, err := ring.Signing(w.t.Context(), keys.WorkloadTokens, jwt.ES256)
	w.must(err)
	return &agent{w, (&workload.Tokens{Issuer: w.URL, TrustDomain: "deputy.local", Keys: signing, Standings: workloadtest.NothingRevoked{}, Now: w.now}).Ready()}
}

// asked is the answer to a request for a credential.
type asked struct {
	Status     string
	Credential struct {
		AccessToken string
		Scopes      []string
	}
	Authorization struct{ ID, State, Reason, Message, URL string }
}

// token is the agent's, with a request of the user's, as the ingress mints it.
func (a *agent) token() string {
	a.w.t.Helper()
	u := name.User{Issuer: a.w.issuer(), Subject: a.w.user.ID}
	token, _, err := a.tokens.Mint(a.w.t.Context(), name.Workload{Pool: name.DefaultPool, Name: "doc"}, u, nil)
	a.w.must(err)
	return token.RevealString()
}

func (a *agent) ask(scopes ...string) asked {
	a.w.t.Helper()
	var got asked
	a.w.call(a.token(), "/credentials", map[string]any{"provider": "third", "scopes": scopes}, &got)
	return got
}

// ready is ask where there has to be a credential.
func (a *agent) ready(scopes ...string) string {
	a.w.t.Helper()
	got := a.ask(scopes...)
	if got.Status != "ready" || got.Credential.AccessToken == "" {
		a.w.t.Fatalf("no credential: %s\nrefused: %q", got.Status, a.w.refusals())
	}
	return got.Credential.AccessToken
}

// link is ask where the user has to be asked first.
func (a *agent) link(scopes ...string) asked {
	a.w.t.Helper()
	got := a.ask(scopes...)
	if got.Status != "authorization_required" {
		a.w.t.Fatalf("the user need not be asked: %s", got.Status)
	}
	return got
}

// authorize has a person follow a link, and returns how the authorization ended.
func (a *agent) authorize(p *person, link asked) asked {
	a.w.t.Helper()
	p.through(link.Authorization.URL)
	r, err := http.NewRequestWithContext(a.w.t.Context(), http.MethodGet, a.w.URL+"/api/v1/authorizations/"+link.Authorization.ID, nil)
	a.w.must(err)
	r.Header.Set("Authorization", "Bearer "+a.token())
	resp, err := http.DefaultClient.Do(r)
	a.w.must(err)
	defer resp.Body.Close()
	var got asked
	a.w.must(json.NewDecoder(resp.Body).Decode(&got.Authorization))
	return got
}

// api is an operator's client.
func (w *world) api() *apiclient.Client {
	w.t.Helper()
	c, err := apiclient.New(apiclient.Config{URL: w.URL, Token: secret.FromString(w.operator())})
	w.must(err)
	return c
}

// through opens an address and answers whatever is asked on the way, by Deputy
// or somebody else. It returns the page that asks nothing.
func (p *person) through(address string) string {
	p.w.t.Helper()
	at, err := p.Get(p.w.t.Context(), address, nil)
	for range 8 {
		p.w.must(err)
		var asks bool
		if at, asks, err = p.answerElsewhere(at, nil); !asks {
			return at.Body
		}
	}
	p.w.t.Fatalf("the questions do not end: %s\n%s", at.URL, at.Body)
	return ""
}

// tap stands between Deputy and a token endpoint, and notes the refresh tokens
// that go by.
type tap struct {
	*httptest.Server
	mu    sync.Mutex
	spent []string
}

func newTap(t testing.TB, endpoint string) *tap {
	t.Helper()
	p := &tap{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		if err != nil {
			return
		}
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("grant_type") == "refresh_token" {
			p.mu.Lock()
			p.spent = append(p.spent, form.Get("refresh_token"))
			p.mu.Unlock()
		}
		on, err := http.NewRequestWithContext(r.Context(), r.Method, endpoint, strings.NewReader(string(body)))
		if err != nil {
			t.Error(err)
			return
		}
		on.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(on)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(p.Close)
	return p
}

// refreshes returns the refresh tokens that were spent so far.
func (p *tap) refreshes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.spent...)
}
