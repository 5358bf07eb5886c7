package kmstest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"testing"
)

// Vault is a running Vault with a transit key named deputy.
type Vault struct {
	URL   string // without TLS, on loopback
	Host  string // its host and port
	Token string // may do everything

	t      testing.TB
	unseal string
	stop   func()
}

// StartVault starts a Vault that keeps everything in memory.
func StartVault(t testing.TB) *Vault {
	t.Helper()
	cmd := exec.Command(program(t, "vault"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	v := &Vault{t: t}
	stopped := false
	v.stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = in.Close() // that ends it
		_ = cmd.Wait()
	}
	t.Cleanup(v.stop)
	var said struct{ Ready string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	check(t, err)
	check(t, json.Unmarshal(line, &said))
	u, err := url.Parse(said.Ready)
	check(t, err)
	v.URL, v.Host = said.Ready, u.Host
	var made struct {
		Keys  []string `json:"keys"`
		Token string   `json:"root_token"`
	}
	v.do(http.MethodPut, "sys/init", `{"secret_shares":1,"secret_threshold":1}`, &made)
	v.unseal, v.Token = made.Keys[0], made.Token
	v.Unseal()
	v.do(http.MethodPost, "sys/mounts/transit", `{"type":"transit"}`, nil)
	v.NewKey("deputy", "aes256-gcm96")
	return v
}

// Stop ends it, with everything that it keeps.
func (v *Vault) Stop() { v.stop() }

// Location is where the key is, for package kms.
func (v *Vault) Location() string { return "vault+http://" + v.Host + "/transit/keys/deputy" }

// Seal takes its own key from Vault's memory.
func (v *Vault) Seal() { v.do(http.MethodPut, "sys/seal", ``, nil) }

// Unseal reverses Seal.
func (v *Vault) Unseal() {
	v.do(http.MethodPut, "sys/unseal", fmt.Sprintf(`{"key":%q}`, v.unseal), nil)
}

// NewKey makes a key of that type in the transit engine.
func (v *Vault) NewKey(name, keyType string) {
	v.do(http.MethodPost, "transit/keys/"+name, fmt.Sprintf(`{"type":%q}`, keyType), nil)
}

// Rotate makes the key's next version.
func (v *Vault) Rotate() { v.do(http.MethodPost, "transit/keys/deputy/rotate", ``, nil) }

// Require refuses what versions of the key before that one have wrapped.
func (v *Vault) Require(version int) {
	v.do(http.MethodPost, "transit/keys/deputy/config", fmt.Sprintf(`{"min_decryption_version":%d}`, version), nil)
}

// TokenFor makes a token that may do the operations ("encrypt", "decrypt") with
// the key, and nothing else.
func (v *Vault) TokenFor(operations ...string) string {
	policy := ""
	for _, operation := range operations {
		policy += fmt.Sprintf("path \"transit/%s/*\" { capabilities = [\"update\"] }\n", operation)
	}
	v.do(http.MethodPut, "sys/policies/acl/some", fmt.Sprintf(`{"policy":%q}`, policy), nil)
	var made struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	v.do(http.MethodPost, "auth/token/create", `{"policies":["some"],"no_parent":true}`, &made)
	return made.Auth.Token
}

// Revoke ends a token.
func (v *Vault) Revoke(token string) {
	v.do(http.MethodPost, "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, token), nil)
}

func (v *Vault) do(method, path, body string, into any) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.URL+"/v1/"+path, bytes.NewReader([]byte(body)))
	check(v.t, err)
	r.Header.Set("X-Vault-Token", v.Token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	check(v.t, err)
	defer resp.Body.Close() // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	check(v.t, err)
	if resp.StatusCode/100 != 2 {
		v.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	if into != nil {
		check(v.t, json.Unmarshal(b, into))
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
