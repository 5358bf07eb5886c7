package kms_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/kms"
	"github.com/deputy-id/deputy/internal/kms/kmstest"
	"github.com/deputy-id/deputy/internal/secret"
)

var (
	dataKey = bytes.Repeat([]byte{7}, 32)
	purpose = []byte("deputy/place/1\x00\xff pool default")
)

func open(t *testing.T, location string, access kms.Access) keys.Root {
	t.Helper()
	root, err := kms.Open(t.Context(), location, access)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func token(text string) kms.Access { return kms.Access{VaultToken: secret.FromString(text)} }

// checkRoot holds a root to the contract of [keys.Root].
func checkRoot(t *testing.T, root keys.Root) (wrapped []byte, version string) {
	t.Helper()
	if id := root.ID(); id == "" || strings.Contains(id, "#") {
		t.Errorf("the id is %q", id)
	}
	wrapped, version, err := root.Wrap(t.Context(), purpose, dataKey)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, dataKey) {
		t.Error("it is in clear")
	}
	if plain, err := root.Unwrap(t.Context(), purpose, wrapped); err != nil || !bytes.Equal(plain, dataKey) {
		t.Errorf("unwrapped: %v", err)
	}
	altered := bytes.Clone(wrapped)
	altered[len(altered)-3] ^= 1
	local, err := keys.NewLocal(secret.New(dataKey))
	if err != nil {
		t.Fatal(err)
	}
	foreign, _, err := local.Wrap(t.Context(), purpose, dataKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ context, wrapped []byte }{
		"another context": {[]byte("deputy/place/1 pool other"), wrapped}, "no context": {nil, wrapped}, "altered": {purpose, altered},
		"another root key's": {purpose, foreign}, "nothing": {purpose, nil},
	} {
		if _, err := root.Unwrap(t.Context(), c.context, c.wrapped); err == nil || fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := kms.Probe(t.Context(), root); err != nil {
		t.Error(err)
	}
	return wrapped, version
}

// refuses wants both operations to fail with the code and something to do about it.
func refuses(t *testing.T, what string, root keys.Root, wrapped []byte, code string) {
	t.Helper()
	_, _, errWrap := root.Wrap(t.Context(), purpose, dataKey)
	_, errUnwrap := root.Unwrap(t.Context(), purpose, wrapped)
	for _, err := range []error{errWrap, errUnwrap} {
		if f := fault.As(err); f == nil || f.Code != code || f.Kind != fault.Unavailable || f.Fix == "" {
			t.Errorf("%s: got %v, want %s", what, err, code)
		}
	}
}

func TestTransit(t *testing.T) {
	v := kmstest.StartVault(t)
	root := open(t, v.Location(), token(v.Token))
	first, version := checkRoot(t, root)
	if version != "1" {
		t.Errorf("the version is %q", version)
	}
	v.Rotate()
	if _, version = checkRoot(t, root); version != "2" {
		t.Errorf("after a rotation the version is %q", version)
	}
	if _, err := root.Unwrap(t.Context(), purpose, first); err != nil {
		t.Errorf("what the former version wrapped: %v", err)
	}
	v.Require(2)
	if _, err := root.Unwrap(t.Context(), purpose, first); !fault.HasCode(err, "root_key_disabled") || !fault.Is(err, fault.Unavailable) {
		t.Errorf("what a version wrapped that is not allowed any more: %v", err)
	}
}

// TestVaultDoesNotHelp meets each way in which Vault does not help.
func TestVaultDoesNotHelp(t *testing.T) {
	v := kmstest.StartVault(t)
	wrapped, _ := checkRoot(t, open(t, v.Location(), token(v.Token)))
	refuses(t, "a wrong token", open(t, v.Location(), token("hvs.wrong")), wrapped, "root_key_denied")
	refuses(t, "a token for something else", open(t, v.Location(), token(v.TokenFor("sign"))), wrapped, "root_key_denied")
	limited := v.TokenFor("encrypt", "decrypt")
	checkRoot(t, open(t, v.Location(), token(limited)))
	v.Revoke(limited)
	refuses(t, "a revoked token", open(t, v.Location(), token(limited)), wrapped, "root_key_denied")
	refuses(t, "no such engine", open(t, strings.Replace(v.Location(), "/transit/", "/elsewhere/", 1), token(v.Token)), wrapped, "root_key_missing")
	if _, err := open(t, strings.Replace(v.Location(), "/deputy", "/other", 1), token(v.Token)).Unwrap(t.Context(), purpose, wrapped); !fault.HasCode(err, "root_key_missing") {
		t.Errorf("no such key: %v", err)
	}
	v.NewKey("pair", "rsa-2048")
	if _, _, err := open(t, strings.Replace(v.Location(), "/deputy", "/pair", 1), token(v.Token)).Wrap(t.Context(), purpose, dataKey); !fault.HasCode(err, "root_key_disabled") {
		t.Errorf("a key that binds no context: %v", err)
	}
	root := open(t, v.Location(), token(v.Token))
	v.Seal()
	refuses(t, "sealed", root, wrapped, "root_key_sealed")
	v.Unseal()
	checkRoot(t, root)
	v.Stop()
	refuses(t, "gone", root, wrapped, "root_key_unreachable")
}

// TestVaultOverTLS has the token in a file that an agent renews.
func TestVaultOverTLS(t *testing.T) {
	v := kmstest.StartVault(t)
	behind, err := url.Parse(v.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(behind))
	t.Cleanup(front.Close)
	dir := t.TempDir()
	authority, tokens := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})))
	write(tokens, v.TokenFor("encrypt", "decrypt")+"\n")
	location := "vault://" + front.Listener.Addr().String() + "/transit/keys/deputy?token-file=" + tokens
	root := open(t, location+"&ca-file="+authority, kms.Access{})
	wrapped, _ := checkRoot(t, root)
	write(tokens, "hvs.expired")
	refuses(t, "an expired token", root, wrapped, "root_key_denied")
	write(tokens, v.TokenFor("encrypt", "decrypt"))
	checkRoot(t, root)
	for _, text := range []string{"", "two\ntokens"} {
		write(tokens, text)
		refuses(t, "no token", root, wrapped, "root_kms_token_missing")
	}
	write(tokens, v.Token)
	refuses(t, "a certificate of nobody that is known", open(t, location, kms.Access{}), wrapped, "root_key_unreachable")
	for file, text := range map[string]string{"nothing": "", "no-certificate": "x"} {
		path := filepath.Join(dir, file)
		if text != "" {
			write(path, text)
		}
		if _, err := kms.Open(t.Context(), location+"&ca-file="+path, kms.Access{}); !fault.HasCode(err, "root_kms_ca_unreadable") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestVaultAnswersNonsense has somebody else at Vault's address.
func TestVaultAnswersNonsense(t *testing.T) {
	for what, c := range map[string]struct {
		status int
		body   string
	}{
		"no JSON": {200, "<html>"}, "no ciphertext": {200, `{"data":{"ciphertext":"hello","plaintext":""}}`}, "a standby": {307, ""}, "an error": {500, `{"errors":["x"]}`},
		"too much": {200, `"` + strings.Repeat("x", 64<<10) + `"`}, "throttled": {429, `{"errors":["request path is rate limited"]}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		root := open(t, "vault+http://"+server.Listener.Addr().String()+"/transit/keys/deputy", token("hvs.the-token"))
		_, _, errWrap := root.Wrap(t.Context(), purpose, dataKey)
		_, errUnwrap := root.Unwrap(t.Context(), purpose, []byte("vault:v1:AAAA"))
		for _, err := range []error{errWrap, errUnwrap} {
			if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "hvs.") {
				t.Errorf("%s: %v", what, err)
			}
		}
		server.Close()
	}
}

// TestNobodyAnswers bounds how long a root key is waited for.
func TestNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // it accepts nothing
	root := open(t, "vault+http://"+l.Addr().String()+"/transit/keys/deputy", token("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := root.Wrap(ctx, purpose, dataKey); !fault.HasCode(err, "root_key_unreachable") {
		t.Errorf("got %v", err)
	}
}

func TestAWS(t *testing.T) {
	a := kmstest.StartAWS(t)
	root := open(t, a.Location(), kms.Access{})
	wrapped, version := checkRoot(t, root)
	if version != "" || a.Contexts.Load() == 0 {
		t.Errorf("version %q, %d contexts", version, a.Contexts.Load())
	}
	for kind, code := range map[string]string{
		"AccessDeniedException": "root_key_denied", "ExpiredTokenException": "root_key_denied", "NotFoundException": "root_key_missing", "DisabledException": "root_key_disabled",
		"KMSInvalidStateException": "root_key_disabled", "ThrottlingException": "root_key_unavailable", "500": "root_key_unavailable",
	} {
		a.Refuse.Store(&kind)
		refuses(t, kind, root, wrapped, code)
	}
	a.Refuse.Store(nil)
	checkRoot(t, root)
	refuses(t, "nobody there", open(t, "awskms:///"+a.ARN+"?endpoint=http://127.0.0.1:1", kms.Access{}), wrapped, "root_key_unreachable")
	refuses(t, "another key", open(t, strings.Replace(a.Location(), "1234abcd", "00000000", 1), kms.Access{}), wrapped, "root_key_missing")
}

func TestGoogle(t *testing.T) {
	g := kmstest.StartGoogle(t)
	root := open(t, g.Location(), kms.Access{})
	wrapped, version := checkRoot(t, root)
	if version != "1" {
		t.Errorf("the version is %q", version)
	}
	g.Rotate()
	if _, version = checkRoot(t, root); version != "2" {
		t.Errorf("after a rotation the version is %q", version)
	}
	if _, err := root.Unwrap(t.Context(), purpose, wrapped); err != nil {
		t.Errorf("what the former version wrapped: %v", err)
	}
	for status, code := range map[int]string{401: "root_key_denied", 403: "root_key_denied", 404: "root_key_missing", 429: "root_key_unavailable", 503: "root_key_unavailable"} {
		g.Refuse(status)
		refuses(t, http.StatusText(status), root, wrapped, code)
	}
	g.Refuse(0)
	g.Garble(true)
	refuses(t, "altered on the way", root, wrapped, "root_key_unavailable")
	g.Garble(false)
	g.Disable(1)
	g.Disable(2)
	refuses(t, "disabled", root, wrapped, "root_key_disabled")
	refuses(t, "nobody there", open(t, "gcpkms://"+g.Key+"?endpoint=http://127.0.0.1:1", kms.Access{}), wrapped, "root_key_unreachable")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	if _, err := kms.Open(t.Context(), g.Location(), kms.Access{}); !fault.HasCode(err, "root_kms_invalid") {
		t.Errorf("without credentials: %v", err)
	}
}

// TestGoogleAndItsOwnClientAgree holds both, and the emulator, to each other.
func TestGoogleAndItsOwnClientAgree(t *testing.T) {
	g := kmstest.StartGoogle(t)
	root := open(t, g.Location(), kms.Access{})
	wrapped, _, err := root.Wrap(t.Context(), purpose, dataKey)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Official(true, wrapped, purpose); !bytes.Equal(got, dataKey) {
		t.Error("what Deputy wrapped is something else to Google's client")
	}
	if got, err := root.Unwrap(t.Context(), purpose, g.Official(false, dataKey, purpose)); err != nil || !bytes.Equal(got, dataKey) {
		t.Errorf("what Google's client encrypted: %v", err)
	}
}
