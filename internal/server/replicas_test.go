package server_test

import (
	"bufio"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

// rootKey is a root key in its text form.
func rootKey(b byte) secret.Text {
	return secret.FromString(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(b), 32))))
}

// built makes a Deputy without running it, and throws it away.
func built(t *testing.T, c server.Config) error {
	t.Helper()
	c.Listen, c.Logger = "127.0.0.1:1", slog.New(slog.DiscardHandler)
	s, err := server.Build(t.Context(), c)
	if err == nil {
		s.Close()
	}
	return err
}

// TestRootKeys starts Deputy with keys as operators have them.
func TestRootKeys(t *testing.T) {
	write := func(path, content string, mode os.FileMode) {
		t.Helper()
		must(t, os.WriteFile(path, []byte(content), mode))
		must(t, os.Chmod(path, mode))
	}
	right, wrong := rootKey('r').RevealString()+"\n", rootKey('w').RevealString()+"\n"
	for _, c := range []struct {
		what   string
		change func(c *server.Config, file string)
		code   string
		source string // "file" stands for the key's file
	}{
		{"the same key again", func(*server.Config, string) {}, "", ""},
		{"the same key from the environment", func(c *server.Config, file string) { must(t, os.Remove(file)); c.RootKey = rootKey('r') }, "", ""},
		{"another file", func(c *server.Config, file string) { c.RootKeyFile = file + "2"; must(t, os.Rename(file, file+"2")) }, "", ""},
		{"a wrong key", func(_ *server.Config, file string) { write(file, wrong, 0o600) }, "root_key_wrong", "file"},
		{"a wrong key from the environment", func(c *server.Config, _ string) { c.RootKey = rootKey('w') }, "root_key_wrong", "DEPUTY_ROOT_KEY"},
		{"a key that is none", func(_ *server.Config, file string) { write(file, "c2hvcnQ=", 0o600) }, "root_key_invalid", "file"},
		{"not even base64", func(_ *server.Config, file string) { write(file, "%%%", 0o600) }, "root_key_invalid", "file"},
		{"an empty file", func(_ *server.Config, file string) { write(file, "", 0o600) }, "root_key_invalid", "file"},
		{"no key", func(_ *server.Config, file string) { must(t, os.Remove(file)) }, "root_key_missing", "file"},
		{"no key where it should be", func(c *server.Config, file string) { c.RootKeyFile = file + "2" }, "root_key_missing", "--root-key-file"},
		{"a key for everybody", func(_ *server.Config, file string) { must(t, os.Chmod(file, 0o644)) }, "root_key_exposed", "file"},
		{"data for everybody", func(c *server.Config, _ string) { must(t, os.Chmod(c.Data, 0o755)) }, "data_exposed", "--data"},
	} {
		t.Run(c.what, func(t *testing.T) {
			config := server.Config{Data: servertest.DataDir(t)}
			file := filepath.Join(config.Data, "root.key")
			write(file, right, 0o600)
			must(t, built(t, config)) // the first start
			c.change(&config, file)
			err := built(t, config)
			if c.code == "" {
				must(t, err)
				return
			}
			if c.source == "file" {
				c.source = file
			}
			if f := fault.As(err); f == nil || f.Code != c.code || f.Source != c.source || f.Fix == "" {
				t.Errorf("got %v, want %s from %s", err, c.code, c.source)
			}
			if err != nil && (strings.Contains(err.Error(), trim(right)) || strings.Contains(err.Error(), trim(wrong))) {
				t.Error("the error shows the key")
			}
		})
	}
}

func TestTheFirstStartMakesAKeyForItsOwnerOnly(t *testing.T) {
	dir := servertest.DataDir(t)
	must(t, built(t, server.Config{Data: dir}))
	for _, file := range []string{"root.key", "operator.token"} {
		info, err := os.Stat(filepath.Join(dir, file))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", file, info.Mode().Perm())
		}
	}
	// A key from the environment is not written anywhere.
	dir = servertest.DataDir(t)
	must(t, built(t, server.Config{Data: dir, RootKey: rootKey('r')}))
	if _, err := os.Stat(filepath.Join(dir, "root.key")); !os.IsNotExist(err) {
		t.Errorf("a root key file was made: %v", err)
	}
}

func TestADataDirectoryHasOneOwner(t *testing.T) {
	w := newWorld(t, nil)
	err := built(t, server.Config{Data: w.dir})
	if f := fault.As(err); f == nil || f.Code != "data_in_use" || f.Source != "--data" {
		t.Errorf("the second start: %v", err)
	}
	w.stop()
	must(t, built(t, server.Config{Data: w.dir}))
}

func TestConfigIsStrict(t *testing.T) {
	for _, c := range []struct {
		what   string
		config server.Config
		code   string
	}{
		{"no data", server.Config{Listen: "127.0.0.1:1"}, "data_missing"},
		{"no port", server.Config{Data: "x", Listen: "127.0.0.1"}, "listen_invalid"},
		{"an address that others see", server.Config{Data: "x", Listen: "0.0.0.0:8080"}, "public_url_missing"},
		{"plain http for others", server.Config{Data: "x", Listen: "0.0.0.0:8080", PublicURL: "http://id.example.com"}, "public_url_invalid"},
		{"a path", server.Config{Data: "x", Listen: "0.0.0.0:8080", PublicURL: "https://id.example.com/x"}, "public_url_invalid"},
		{"a name in the address", server.Config{Data: "x", Listen: "0.0.0.0:8080", PublicURL: "https://a@id.example.com"}, "public_url_invalid"},
		{"one origin for both", server.Config{Data: "x", Listen: "127.0.0.1:1", PublicURL: "https://a.example", IngressListen: "127.0.0.1:2", IngressURL: "https://A.example/"}, "origins_shared"},
		{"a bad trust domain", server.Config{Data: "x", Listen: "127.0.0.1:1", TrustDomain: "Example.com"}, "trust_domain_invalid"},
	} {
		_, err := server.Build(t.Context(), c.config)
		if f := fault.As(err); f == nil || f.Code != c.code || f.Source == "" {
			t.Errorf("%s: got %v, want %s", c.what, err, c.code)
		}
	}
}

// TestReplicas runs two Deputies on one PostgreSQL. An authorization begun at
// the first is finished at the second, and whoever waits at the first is told.
func TestReplicas(t *testing.T) {
	database := secret.FromString(storetest.Postgres(t).URL(t))
	var behind atomic.Pointer[url.URL] // the replica that the front sends to
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind.Load()) }})
	t.Cleanup(front.Close)
	common := func(c *server.Config) { c.Database, c.RootKey, c.PublicURL = database, rootKey('r'), front.URL }
	w := newReplicated(t, common, &behind)
	second := server.Config{Data: servertest.DataDir(t), Version: "test", AllowOutbound: []string{w.party.Listener.Addr().String()}, Now: w.clock.now,
		Logger: slog.New(slog.NewJSONHandler(w.log, nil))}
	common(&second)
	for what, key := range map[string]secret.Text{"root_key_wrong": rootKey('w'), "root_key_missing": {}} {
		other := second
		other.Data, other.RootKey = servertest.DataDir(t), key
		if err := built(t, other); !fault.HasCode(err, what) {
			t.Errorf("a replica with another root key: %v, want %s", err, what)
		}
	}
	first := w.replica
	other := start(t, second)
	sendTo := func(r *replica) {
		u, err := url.Parse(r.direct)
		must(t, err)
		behind.Store(u)
	}

	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	asks := w.link(token)
	events := w.follow(first.direct, token, asks.ID)
	if state := events(); state != "pending" {
		t.Fatalf("the first event is %q", state)
	}
	sendTo(other)
	back := zhangsan.decide(zhangsan.begin(asks.URL), "allow")
	sendTo(first)
	if state := events(); state != "redirected" {
		t.Errorf("then %q", state)
	}
	sendTo(other)
	zhangsan.finish(back)
	for state := ""; state != "completed"; {
		if state = events(); state == "" {
			t.Fatal("the stream ended")
		}
	}
	for _, r := range []*replica{first, other} {
		sendTo(r)
		if got := w.ask(token, "feishu_oauth"); w.owner(got.Credential.AccessToken) != "zhangsan" {
			t.Errorf("at %s: %s", r.direct, got.Status)
		}
	}
	// What is revoked at one is refused at the other, at once and although it was used there a moment ago.
	sendTo(first)
	if got := w.api("POST", "/workload-pools/default/workloads/a/revoke-tokens", w.operator, ""); got.status != http.StatusNoContent {
		t.Fatalf("revoke: %d %s", got.status, got.body)
	}
	sendTo(other)
	if got := w.api("GET", "/whoami", token, ""); got.status != http.StatusUnauthorized || code(got) != "token_revoked" {
		t.Errorf("revoked at the other replica: %d %s", got.status, got.body)
	}
	// What one replica makes, the other can open; the audit chain is one.
	w.make("/workload-pools", `{"name":"later"}`, nil)
	if got := w.api("GET", "/audit/verify", w.operator, ""); !strings.Contains(got.body, `"ok":true`) {
		t.Errorf("the audit chain: %s", got.body)
	}
}

// follow opens the stream of an authorization at one replica and returns a
// function that waits for the next state; "" is the end.
func (w *world) follow(base, token, id string) (next func() string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", base+"/api/v1/authorizations/"+id+"/events", nil)
	must(w.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultTransport.RoundTrip(r)
	must(w.t, err)
	w.t.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return func() string {
		for lines.Scan() {
			if _, rest, ok := strings.Cut(lines.Text(), `"state":"`); ok {
				state, _, _ := strings.Cut(rest, `"`)
				return state
			}
		}
		return ""
	}
}
