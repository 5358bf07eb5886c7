package apiclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

const operatorToken = "dop_operators-own-token"

// serve answers every request with handle and returns a client of it.
func serve(t *testing.T, handle http.HandlerFunc) *apiclient.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	c, err := apiclient.New(apiclient.Config{URL: server.URL + "/", Token: secret.FromString(operatorToken), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCalls holds each call to what it sends.
func TestCalls(t *testing.T) {
	provider := apiclient.ProviderSettings{Vendor: "feishu", ClientID: "cli_1", Scopes: []string{"a", "b"},
		Endpoints: vendor.Endpoints{Token: "http://127.0.0.1:1/token"}}
	const providerJSON = `"vendor":"feishu","clientId":"cli_1","scopes":["a","b"],"endpoints":{"token":"http://127.0.0.1:1/token"},"clientSecret":"s3cret"`
	tests := []struct {
		name string
		call func(context.Context, *apiclient.Client) error
		want string
		body string
	}{
		{"UserPools", func(ctx context.Context, c *apiclient.Client) error { _, err := c.UserPools(ctx); return err }, "GET /api/v1/user-pools", ""},
		{"CreateUserPool", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.CreateUserPool(ctx, "people", "People", nil)
			return err
		}, "POST /api/v1/user-pools", `{"name":"people","displayName":"People"}`},
		{"CreateUser", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.CreateUser(ctx, "p/1", apiclient.NewUser{UserName: "li", Password: secret.FromString("pw")})
			return err
		}, "POST /api/v1/user-pools/p%2F1/users", `{"userName":"li","password":"pw"}`},
		{"CreateOAuthClient", func(ctx context.Context, c *apiclient.Client) error {
			_, _, err := c.CreateOAuthClient(ctx, "people", apiclient.ClientSettings{Name: "chat", Type: "web", RedirectURIs: []string{"http://127.0.0.1/cb"}})
			return err
		}, "POST /api/v1/user-pools/people/clients", `{"name":"chat","type":"web","redirectUris":["http://127.0.0.1/cb"]}`},
		{"ReplaceSecret", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.ReplaceSecret(ctx, "people", "cli_1")
			return err
		}, "POST /api/v1/user-pools/people/clients/cli_1/secret", ""},
		{"CreateProvider", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.CreateProvider(ctx, "default", "feishu_oauth", provider, secret.FromString("s3cret"))
			return err
		}, "POST /api/v1/workload-pools/default/providers", `{"name":"feishu_oauth",` + providerJSON + `}`},
		{"UpdateProvider", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.UpdateProvider(ctx, "default", "feishu_oauth", provider, secret.FromString("s3cret"))
			return err
		}, "PUT /api/v1/workload-pools/default/providers/feishu_oauth", `{` + providerJSON + `}`},
		{"LaunchAgent", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.LaunchAgent(ctx, "default", "/agents/one", "")
			return err
		}, "POST /api/v1/workload-pools/default/agents", `{"directory":"/agents/one"}`},
		{"Audit", func(ctx context.Context, c *apiclient.Client) error {
			_, err := c.Audit(ctx, audit.Filter{After: 7, Action: "a b", Outcome: audit.Refused, Newest: true, Limit: 3})
			return err
		}, "GET /api/v1/audit?action=a+b&after=7&limit=3&newest=true&outcome=refused", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got, body string
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got, body = r.Method+" "+r.URL.RequestURI(), string(b)
				if a := r.Header.Get("Authorization"); a != "Bearer "+operatorToken {
					t.Errorf("Authorization: %q", a)
				}
				fmt.Fprint(w, `{"later":"fields are no error"}`)
			})
			if err := test.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got != test.want || body != test.body {
				t.Errorf("got  %s %s\nwant %s %s", got, body, test.want, test.body)
			}
		})
	}
}

// TestRefusals: what the server raised comes back as it was.
func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		status      int
		contentType string
		body        string
		want        fault.Error
		requestID   string
	}{
		"a problem": {404, "application/problem+json", `{"type":"urn:deputy:error:provider_not_found","title":"Not Found","status":404,"detail":"there is none","code":"provider_not_found","fix":"make one","source":"provider","requestId":"req_1"}`,
			fault.Error{Kind: fault.NotFound, Code: "provider_not_found", Message: "there is none", Fix: "make one", Source: "provider"}, "req_1"},
		"a problem with a charset": {409, "application/problem+json; charset=utf-8", `{"detail":"taken","code":"name_taken"}`,
			fault.Error{Kind: fault.Conflict, Code: "name_taken", Message: "taken"}, ""},
		"a request id that is none": {403, "application/problem+json", `{"detail":"no","code":"forbidden","requestId":"\u001b[31m"}`,
			fault.Error{Kind: fault.Forbidden, Code: "forbidden", Message: "no"}, ""},
		"a proxy's page": {502, "text/html", "<h1>Bad gateway: secret stuff</h1>",
			fault.Error{Kind: fault.Upstream, Code: "api_refused", Message: "the API answered with status 502", Fix: "check that the address is that of an identity service, with no other server in between"}, ""},
		"a redirect": {302, "text/plain", "",
			fault.Error{Kind: fault.Internal, Code: "api_refused", Message: "the API answered with status 302", Fix: "check that the address is that of an identity service, with no other server in between"}, ""},
		"too much": {400, "application/problem+json", `{"code":"x","detail":"` + strings.Repeat("x", 70<<10) + `"}`,
			fault.Error{Kind: fault.Invalid, Code: "api_refused", Message: "the API answered with status 400", Fix: "check that the address is that of an identity service, with no other server in between"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", test.contentType)
				w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			_, err := c.UserPools(t.Context())
			var got *fault.Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v is no fault", err)
			}
			if got.Kind != test.want.Kind || got.Code != test.want.Code || got.Message != test.want.Message || got.Fix != test.want.Fix || got.Source != test.want.Source {
				t.Errorf("got  %+v\nwant %+v", got, &test.want)
			}
			var answer *apiclient.Answer
			if !errors.As(err, &answer) || answer.Status != test.status || answer.RequestID != test.requestID {
				t.Errorf("answer %+v, want status %d and request id %q", answer, test.status, test.requestID)
			}
		})
	}
}

func TestUnusableAnswers(t *testing.T) {
	for name, body := range map[string]string{"not JSON": "<html>", "empty": "", "another type": `{"items":"none"}`} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
			if _, err := c.UserPools(t.Context()); !fault.HasCode(err, "api_answer_unusable") {
				t.Errorf("error %v", err)
			}
		})
	}
	c, err := apiclient.New(apiclient.Config{URL: "http://127.0.0.1:1", Token: secret.FromString(operatorToken)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserPools(t.Context()); !fault.HasCode(err, "api_unreachable") {
		t.Errorf("error %v", err)
	}
}

func TestUsersReadsAllPages(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("after") {
		case "":
			fmt.Fprint(w, `{"items":[{"userName":"a"},{"userName":"b"}],"next":"b"}`)
		case "b":
			fmt.Fprint(w, `{"items":[{"userName":"c"}]}`)
		}
	})
	var got []string
	for u, err := range c.Users(t.Context(), "people") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, u.UserName)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefuses(t *testing.T) {
	token := secret.FromString(operatorToken)
	for name, c := range map[string]apiclient.Config{
		"clear text":   {URL: "http://id.example.com", Token: token},
		"no host":      {URL: "https://", Token: token},
		"user info":    {URL: "https://a:b@id.example.com", Token: token},
		"a query":      {URL: "https://id.example.com?x=1", Token: token},
		"other scheme": {URL: "file:///etc/passwd", Token: token},
		"no token":     {URL: "https://id.example.com"},
	} {
		if _, err := apiclient.New(c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestReadToken(t *testing.T) {
	tests := map[string]struct {
		content string
		mode    os.FileMode
		code    string
	}{
		"good":     {operatorToken + "\n", 0o600, ""},
		"exposed":  {operatorToken, 0o640, "token_file_exposed"},
		"empty":    {"\n", 0o600, "token_file_malformed"},
		"two":      {"one two", 0o600, "token_file_malformed"},
		"binary":   {"one\x00", 0o600, "token_file_malformed"},
		"too long": {strings.Repeat("x", 5<<10), 0o600, "token_file_unreadable"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "operator.token")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			token, err := apiclient.ReadToken(path)
			if test.code == "" && (err != nil || token.RevealString() != operatorToken) {
				t.Errorf("error %v", err)
			}
			if test.code != "" && !fault.HasCode(err, test.code) {
				t.Errorf("error %v, want %s", err, test.code)
			}
			if err != nil && fault.As(err).Source != path {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
	if _, err := apiclient.ReadToken(filepath.Join(t.TempDir(), "none")); !fault.HasCode(err, "token_file_missing") {
		t.Errorf("error %v", err)
	}
}

// TestFollowAudit: the connection breaks in the middle, and what it sent last is
// sent again.
func TestFollowAudit(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(seq int) {
			b, _ := json.Marshal(map[string]any{"seq": seq, "hash": "00", "entry": audit.Entry{ID: fmt.Sprint("aud_", seq)}})
			fmt.Fprintf(w, ": alive\n\nevent: record\nid: %d\ndata: %s\n\n", seq, b)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
		if len(asked) == 1 {
			send(1)
			send(2)
			fmt.Fprint(w, "event: record\ndata: {\"seq\":3,")
			panic(http.ErrAbortHandler)
		}
		send(2)
		send(3)
		<-r.Context().Done()
	})
	enough := errors.New("enough")
	var got []string
	err := c.FollowAudit(t.Context(), audit.Filter{Provider: "p", Newest: true, Limit: 1}, func(r apiclient.Record) error {
		got = append(got, r.Entry.ID)
		if r.Seq == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff([]string{"aud_1", "aud_2", "aud_3"}, got); diff != "" {
		t.Error(diff)
	}
	want := []string{"/api/v1/audit/stream?after=0&provider=p", "/api/v1/audit/stream?after=2&provider=p"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

// TestFollowAgentLogs: the connection breaks, and what follows is asked for by the
// place of the last lines.
func TestFollowAgentLogs(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		w.Header().Set("Content-Type", "text/event-stream")
		switch len(asked) {
		case 1:
			fmt.Fprint(w, "event: lines\nid: 10\ndata: {\"lines\":[\"a\",\"b\"]}\n\n: alive\n\nevent: lines\nid: 20\ndata: {\"lines\":[\"never")
		case 2:
			fmt.Fprint(w, "event: lines\nid: 20\ndata: {\"lines\":[\"c\"]}\n\nevent: error\ndata: {\"code\":\"agent_not_found\"}\n\n")
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"code":"agent_not_found","detail":"gone"}`)
		}
	})
	var got []string
	err := c.FollowAgentLogs(t.Context(), "default", "doc", 7, func(line string) error {
		got = append(got, line)
		return nil
	})
	if !fault.HasCode(err, "agent_not_found") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Error(diff)
	}
	const at = "/api/v1/workload-pools/default/agents/doc/logs/stream"
	if diff := cmp.Diff([]string{at + "?lines=7", at + "?after=10", at + "?after=20"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestFollowAuditReturnsRefusals(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"code":"operator_token_unknown","detail":"no"}`)
	})
	err := c.FollowAudit(t.Context(), audit.Filter{}, func(apiclient.Record) error { return nil })
	if !fault.HasCode(err, "operator_token_unknown") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.FollowAudit(ctx, audit.Filter{}, func(apiclient.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
