package kmstest

import (
	"crypto"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Google is Google Cloud KMS with one symmetric key, and the token endpoint for
// its one service account: JSON over HTTP, with checksums and versions.
type Google struct {
	URL, Key string

	t       testing.TB
	account *rsa.PrivateKey

	mu       sync.Mutex
	versions []cipher.AEAD // from 1
	disabled map[int]bool
	refuse   int
	garble   bool
}

// StartGoogle starts it, and puts credentials for it into the environment.
func StartGoogle(t *testing.T) *Google {
	t.Helper()
	account, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	g := &Google{
		Key: "projects/example/locations/europe-west3/keyRings/deputy/cryptoKeys/root", t: t, account: account,
		versions: []cipher.AEAD{newCipher(t)}, disabled: map[int]bool{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", g.token)
	mux.HandleFunc("POST /v1/", g.use)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	g.URL = server.URL
	der, err := x509.MarshalPKCS8PrivateKey(account)
	check(t, err)
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "deputy@example.iam.gserviceaccount.com", "private_key_id": "1", "token_uri": g.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	check(t, err)
	file := filepath.Join(t.TempDir(), "account.json")
	check(t, os.WriteFile(file, b, 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	return g
}

// Location is where the key is, for package kms.
func (g *Google) Location() string { return "gcpkms://" + g.Key + "?endpoint=" + g.URL }

// Rotate makes the key's next version.
func (g *Google) Rotate() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.versions = append(g.versions, newCipher(g.t))
}

// Disable keeps a version from being used.
func (g *Google) Disable(version int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.disabled[version] = true
}

// Refuse has every request of the key answered with a status; 0 for none.
func (g *Google) Refuse(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse = status
}

// Garble has every answer altered on its way.
func (g *Google) Garble(yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.garble = yes
}

const accessToken = "ya29.the-access-token"

// token is the service account's: an access token for an assertion that it signed (RFC 7523).
func (g *Google) token(w http.ResponseWriter, r *http.Request) {
	assertion := r.PostFormValue("assertion")
	signed, signature, _ := strings.Cut(assertion, ".")
	claims, signature, _ := strings.Cut(signature, ".")
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	digest := sha256.Sum256([]byte(signed + "." + claims))
	if err == nil {
		err = rsa.VerifyPKCS1v15(&g.account.PublicKey, crypto.SHA256, digest[:], mac)
	}
	said, _ := base64.RawURLEncoding.DecodeString(claims)
	if err != nil || !strings.Contains(string(said), "https://www.googleapis.com/auth/cloud") {
		g.t.Errorf("the assertion %s: %v", said, err)
		answer(w, "application/json", http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	answer(w, "application/json", http.StatusOK, map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": 3600})
}

// googleFields are those of requests and answers; checksums are numbers in text.
type googleFields struct {
	Name              string `json:"name,omitempty"`
	Plaintext         []byte `json:"plaintext,omitempty"`
	PlaintextSum      string `json:"plaintextCrc32c,omitempty"`
	Ciphertext        []byte `json:"ciphertext,omitempty"`
	CiphertextSum     string `json:"ciphertextCrc32c,omitempty"`
	Additional        []byte `json:"additionalAuthenticatedData,omitempty"`
	AdditionalSum     string `json:"additionalAuthenticatedDataCrc32c,omitempty"`
	VerifiedPlaintext bool   `json:"verifiedPlaintextCrc32c,omitempty"`
	VerifiedContext   bool   `json:"verifiedAdditionalAuthenticatedDataCrc32c,omitempty"`
	UsedPrimary       bool   `json:"usedPrimary,omitempty"`
	ProtectionLevel   string `json:"protectionLevel,omitempty"`
}

func sum(b []byte) string {
	return fmt.Sprint(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// use encrypts and decrypts.
func (g *Google) use(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	refuse := func(status int, kind string) {
		answer(w, "application/json", status, map[string]any{"error": map[string]any{"code": status, "message": "no", "status": kind}})
	}
	key, operation, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
	var in googleFields
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 256<<10)).Decode(&in)
	altered := func(b []byte, said string) bool { return said != "" && said != sum(b) }
	switch {
	case r.Header.Get("Authorization") != "Bearer "+accessToken:
		refuse(http.StatusUnauthorized, "UNAUTHENTICATED")
	case g.refuse != 0:
		refuse(g.refuse, "PERMISSION_DENIED")
	case key != g.Key:
		refuse(http.StatusNotFound, "NOT_FOUND")
	case err != nil, altered(in.Plaintext, in.PlaintextSum), altered(in.Ciphertext, in.CiphertextSum), altered(in.Additional, in.AdditionalSum):
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT")
	case operation == "encrypt":
		g.encrypt(w, in, refuse)
	case operation == "decrypt":
		g.decrypt(w, in, refuse)
	default:
		refuse(http.StatusNotFound, "NOT_FOUND")
	}
}

func (g *Google) encrypt(w http.ResponseWriter, in googleFields, refuse func(int, string)) {
	version := len(g.versions)
	if g.disabled[version] {
		refuse(http.StatusBadRequest, "FAILED_PRECONDITION")
		return
	}
	sealed := append([]byte{byte(version)}, g.versions[version-1].Seal(nil, nil, in.Plaintext, in.Additional)...)
	out := googleFields{
		Name: fmt.Sprintf("%s/cryptoKeyVersions/%d", g.Key, version), Ciphertext: sealed, CiphertextSum: sum(sealed),
		VerifiedPlaintext: in.PlaintextSum != "", VerifiedContext: in.AdditionalSum != "", ProtectionLevel: "SOFTWARE",
	}
	if g.garble {
		out.Ciphertext[len(out.Ciphertext)-1] ^= 1
	}
	answer(w, "application/json", http.StatusOK, out)
}

func (g *Google) decrypt(w http.ResponseWriter, in googleFields, refuse func(int, string)) {
	if len(in.Ciphertext) == 0 || int(in.Ciphertext[0]) < 1 || int(in.Ciphertext[0]) > len(g.versions) {
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	version := int(in.Ciphertext[0])
	if g.disabled[version] {
		refuse(http.StatusBadRequest, "FAILED_PRECONDITION")
		return
	}
	plain, err := g.versions[version-1].Open(nil, nil, in.Ciphertext[1:], in.Additional)
	if err != nil {
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	out := googleFields{Plaintext: plain, PlaintextSum: sum(plain), UsedPrimary: version == len(g.versions), ProtectionLevel: "SOFTWARE"}
	if g.garble {
		out.Plaintext[0] ^= 1
	}
	answer(w, "application/json", http.StatusOK, out)
}

// Official has Google's own client encrypt input with the key, or decrypt it.
func (g *Google) Official(decrypt bool, input, additional []byte) []byte {
	g.t.Helper()
	cmd := exec.Command(program(g.t, "google"), "-endpoint", g.URL, "-key", g.Key, "-aad", base64.StdEncoding.EncodeToString(additional), fmt.Sprintf("-decrypt=%t", decrypt))
	cmd.Stdin, cmd.Stderr = strings.NewReader(base64.StdEncoding.EncodeToString(input)), os.Stderr
	out, err := cmd.Output()
	check(g.t, err)
	b, err := base64.StdEncoding.DecodeString(string(out))
	check(g.t, err)
	return b
}
