package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/freeport"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/visitor"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

var (
	kills    = flag.Int("kills", 8, "how often something is killed in the middle of a conversation")
	killSeed = flag.Uint64("kill-seed", 0, "which things at which moments; 0 is any")
)

// TestKilledAtAnyMoment kills the agent, or Deputy with its identity service and
// runtime, or both, at any moment of a conversation with a consent in the middle.
// What was killed comes back, the next message is answered, and nothing is left of
// what was there before.
func TestKilledAtAnyMoment(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-kills %d -kill-seed %d", *kills, seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	w := newMortal(t)
	whole := time.Now()
	if err := w.converse(t.Context()); err != nil {
		t.Fatal("before anything is killed:", err)
	}
	longest := time.Since(whole)
	for i := range *kills {
		victim := []string{"agent", "deputy", "both"}[i%3]
		if err := w.clear(t.Context()); err != nil { // so that the next conversation needs the person again
			t.Fatal(err)
		}
		before := descendants(t, w.deputy.Process.Pid)
		moment := time.Duration(dice.Int64N(int64(longest)))
		said := make(chan error, 1)
		began := time.Now()
		go func() { said <- w.converse(t.Context()) }()
		w.strike(victim, moment)
		err := <-said
		t.Logf("%s killed after %v of %v: %v", victim, moment.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), err)
		w.recover(victim, before)
		// Whoever asks before the agent is back is told to try again, and does.
		w.until("the next message is answered", func() bool {
			err := w.converse(t.Context())
			var busy *notNow
			if err != nil && !errors.As(err, &busy) {
				t.Fatalf("after %s was killed: %v\n%s", victim, err, w.log)
			}
			return err == nil
		})
	}
	w.leavesNothing()
}

// mortal is a Deputy as a process of its own, with an agent, a user and a Feishu.
type mortal struct {
	t       *testing.T
	program string
	dir     string // the data directory
	args    []string
	url     string
	ports   []string
	api     *apiclient.Client
	deputy  *exec.Cmd
	log     *bytes.Buffer
	person  *visitor.Visitor
	token   string // the person's
	agent   string // its address
}

func newMortal(t *testing.T) *mortal {
	t.Helper()
	w := &mortal{t: t, dir: filepath.Join(t.TempDir(), "data"), log: &bytes.Buffer{}}
	bin := t.TempDir()
	for name, pkg := range map[string]string{"deputy": "../../cmd/deputy", "agent": "../../examples/feishu-doc-agent"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, name), pkg)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	w.program = filepath.Join(bin, "deputy")
	var err error
	w.ports, err = freeport.Find(2)
	must(t, err)
	w.url = "http://localhost:" + w.ports[0]
	w.agent = "http://127.0.0.1:" + w.ports[1] + "/agents/default/feishu-doc-agent"
	const appID, appSecret = "cli_killed", "secret-of-the-app"
	sandbox, err := feishu.New(feishu.Config{
		Apps:  []feishu.App{{ID: appID, Secret: appSecret, RedirectURIs: []string{w.url + "/api/v1/oauth2callback"}, Scopes: []string{"docx:document:readonly", "offline_access"}}},
		Users: feishu.DefaultUsers(), Documents: feishu.DefaultDocuments(),
	})
	must(t, err)
	party := httptest.NewServer(sandbox.Handler())
	t.Cleanup(party.Close)
	w.args = []string{"serve", "--data", w.dir, "--listen", "127.0.0.1:" + w.ports[0], "--public-url", w.url, "--ingress-listen", "127.0.0.1:" + w.ports[1],
		"--allow-outbound", party.Listener.Addr().String()}
	w.start()
	t.Cleanup(func() {
		_ = w.deputy.Process.Kill() // it may have ended
		_ = w.deputy.Wait()
	})
	token, err := apiclient.ReadToken(filepath.Join(w.dir, "operator.token"))
	must(t, err)
	w.api, err = apiclient.New(apiclient.Config{URL: w.url, Token: token})
	must(t, err)
	pool, err := w.api.CreateUserPool(t.Context(), "people", "", nil)
	must(t, err)
	_, err = w.api.CreateUser(t.Context(), "people", apiclient.NewUser{UserName: "zhangsan", Password: secret.FromString(loginPassword)})
	must(t, err)
	client, _, err := w.api.CreateOAuthClient(t.Context(), "people", apiclient.ClientSettings{Name: "chat", Type: "public", RedirectURIs: []string{nowhere}})
	must(t, err)
	_, err = w.api.CreateProvider(t.Context(), "default", "feishu_oauth", apiclient.ProviderSettings{
		Vendor: "feishu", ClientID: appID, Scopes: []string{"docx:document:readonly", "offline_access"},
		Endpoints: vendor.Endpoints{Authorization: party.URL + feishu.AuthorizePath, Token: party.URL + feishu.TokenPathV3, UserInfo: party.URL + feishu.UserInfoPath, API: party.URL},
	}, secret.FromString(appSecret))
	must(t, err)
	w.person, err = visitor.New()
	must(t, err)
	w.logIn(pool.Issuer, client.ID)
	_, err = w.api.LaunchAgent(t.Context(), "default", bin, fmt.Sprintf("common: {agent_name: feishu-doc-agent, entry_point: agent, launch_type: local}\n"+
		"launch_types: {local: {runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: '%s', runtime_jwt_allowed_clients: [%s],"+
		" runtime_envs: {FEISHU_CREDENTIAL_PROVIDER: feishu_oauth, FEISHU_API_BASE: '%s'}}}\n", pool.DiscoveryURL, client.ID, party.URL))
	must(t, err)
	w.awaitAgent()
	return w
}

// nowhere is the redirect URI of a client that nobody runs.
const nowhere = "http://127.0.0.1:9/callback"

// start starts Deputy and returns when it answers.
func (w *mortal) start() {
	w.t.Helper()
	w.log.Reset()
	w.deputy = exec.Command(w.program, w.args...)
	w.deputy.Stderr = w.log
	must(w.t, w.deputy.Start())
	w.until("Deputy is ready", func() bool {
		resp, err := http.Get(w.url + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// until asks again and again; what it asks for is in another process.
func (w *mortal) until(what string, holds func() bool) {
	w.t.Helper()
	tick, bound := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-bound:
			w.t.Fatalf("it never came to this: %s\n%s", what, w.log)
		}
	}
}

func (w *mortal) awaitAgent() {
	w.t.Helper()
	w.until("the agent is ready", func() bool {
		resp, err := http.Get(w.agent + "/ping")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// logIn gets the person's access token.
func (w *mortal) logIn(issuer, clientID string) {
	w.t.Helper()
	provider, err := oidc.NewProvider(w.t.Context(), issuer)
	must(w.t, err)
	app := oauth2.Config{ClientID: clientID, RedirectURL: nowhere, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile"}}
	verifier := oauth2.GenerateVerifier()
	end, err := w.visit(w.t.Context(), app.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)))
	must(w.t, err)
	at, err := url.Parse(end)
	must(w.t, err)
	token, err := app.Exchange(w.t.Context(), at.Query().Get("code"), oauth2.VerifierOption(verifier))
	must(w.t, err)
	w.token = token.AccessToken
}

// visit opens an address, logs in and agrees wherever that is asked for, and returns
// where the browser ends.
func (w *mortal) visit(ctx context.Context, address string) (string, error) {
	end := ""
	stop := func(next *url.URL) bool {
		if strings.HasPrefix(next.String(), nowhere) {
			end = next.String()
		}
		return end == ""
	}
	at, err := w.person.Get(ctx, address, stop)
	for range 6 {
		if err != nil || end != "" {
			return end, err
		}
		form, missing := at.Find("username", "password")
		switch {
		case missing == nil && strings.HasPrefix(at.URL.String(), w.url):
			at, err = w.person.Submit(ctx, at, form, url.Values{"username": {"zhangsan"}, "password": {loginPassword}}, "", "", stop)
			continue
		case missing == nil:
			at, err = w.person.Submit(ctx, at, form, url.Values{"username": {"zhangsan"}, "password": {"sandbox"}}, "", "", stop)
			continue
		}
		form, missing = at.Find("decision")
		if missing != nil {
			return at.URL.String(), nil
		}
		at, err = w.person.Submit(ctx, at, form, nil, "decision", "allow", stop)
	}
	return "", errors.New("the questions do not end")
}

// say says something to the agent as the person, opens the links that come, and
// returns what the agent says.
func (w *mortal) say(ctx context.Context, prompt string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, err := json.Marshal(map[string]string{"prompt": prompt})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.agent+"/invoke", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() // read to its end, or broken
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // for the message only
		err := fmt.Errorf("status %d: %s", resp.StatusCode, b)
		if resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable {
			return "", &notNow{err}
		}
		return "", err
	}
	var said strings.Builder
	for events := apiclient.NewEvents(resp.Body); ; {
		next, err := events.Next()
		if errors.Is(err, io.EOF) {
			return said.String(), nil
		}
		if err != nil {
			return said.String(), err
		}
		said.Write(next.Data)
		var e struct {
			Content struct {
				Parts []struct {
					Call struct {
						Args struct {
							Config struct {
								Exchanged struct {
									OAuth2 struct{ AuthURI string } `json:"oauth2"`
								} `json:"exchangedAuthCredential"`
							} `json:"authConfig"`
						} `json:"args"`
					} `json:"functionCall"`
				} `json:"parts"`
			} `json:"content"`
		}
		if json.Unmarshal(next.Data, &e) != nil {
			continue
		}
		for _, p := range e.Content.Parts {
			if link := p.Call.Args.Config.Exchanged.OAuth2.AuthURI; link != "" {
				if _, err := w.visit(ctx, link); err != nil {
					return said.String(), err
				}
			}
		}
	}
}

// notNow is an answer of an ingress whose agent is not there for a moment.
type notNow struct{ error }

// converse asks for a document, and returns an error unless the answer is about it.
func (w *mortal) converse(ctx context.Context) error {
	said, err := w.say(ctx, "Please summarize this document: "+firstDocument)
	if err == nil && !strings.Contains(said, "云杉") {
		return fmt.Errorf("the agent said %.500q", said)
	}
	return err
}

// clear has the agent give back what it may use.
func (w *mortal) clear(ctx context.Context) error {
	_, err := w.say(ctx, clearAll)
	return err
}

// strike kills a part at a moment of the conversation, without asking it.
func (w *mortal) strike(victim string, moment time.Duration) {
	w.t.Helper()
	<-time.After(moment)
	if victim != "deputy" {
		for pid := range descendants(w.t, w.deputy.Process.Pid) {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == "agent" || err == nil && strings.HasSuffix(exe, "feishu-doc-agent") {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
	}
	if victim != "agent" {
		must(w.t, w.deputy.Process.Kill())
		_ = w.deputy.Wait() // by the signal
	}
}

// recover waits until what was killed is back, and nothing of what was there before
// is left.
func (w *mortal) recover(victim string, before map[int]string) {
	w.t.Helper()
	if victim == "agent" {
		w.awaitAgent()
		return
	}
	w.until("what the killed Deputy had started ends", func() bool {
		for pid, born := range before {
			if now, ok := birth(pid); ok && now == born {
				return false
			}
		}
		return true
	})
	w.start()
	w.awaitAgent()
}

// leavesNothing destroys the agent, ends Deputy, and looks for what is left.
func (w *mortal) leavesNothing() {
	w.t.Helper()
	chain, err := w.api.VerifyAudit(w.t.Context())
	must(w.t, err)
	if !chain.OK {
		w.t.Errorf("the audit log breaks at entry %d", chain.Broken)
	}
	must(w.t, w.api.DeleteAgent(w.t.Context(), "default", "feishu-doc-agent"))
	family := func() int { return len(descendants(w.t, w.deputy.Process.Pid)) }
	w.until("the agent's processes have ended", func() bool { return family() == 0 })
	for _, dir := range []string{"agents", "launch"} {
		w.until("the agent's files are gone from "+dir, func() bool { return w.files(dir) == "" })
	}
	must(w.t, w.deputy.Process.Signal(syscall.SIGTERM))
	if err := w.deputy.Wait(); err != nil {
		w.t.Errorf("Deputy ended with %v", err)
	}
	entries, err := os.ReadDir("/proc")
	must(w.t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if environment, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ")); err == nil && bytes.Contains(environment, []byte(w.dir)) {
			w.t.Errorf("process %d is left", pid)
		}
	}
	for _, port := range w.ports {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			w.t.Errorf("a port is not free after the end: %v", err)
			continue
		}
		must(w.t, l.Close())
	}
}

// files returns the files below a part of the data directory.
func (w *mortal) files(dir string) string {
	var found []string
	_ = filepath.WalkDir(filepath.Join(w.dir, dir), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			found = append(found, path)
		}
		return nil // what is gone meanwhile is gone
	})
	return strings.Join(found, " ")
}
