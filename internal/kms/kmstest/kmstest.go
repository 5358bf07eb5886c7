// Package kmstest is the services that keep root keys, for tests: a real Vault, and AWS KMS and Google Cloud KMS as their wire formats have them.
package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// program returns a peer's program, which is built once for all tests. Without
// it the test is skipped, and in CI fails.
func program(t testing.TB, name string) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.sum")); err == nil {
			break
		}
		root = filepath.Dir(root)
	}
	dir := filepath.Join("internal", "kms", "kmstest", "testdata", name)
	path := filepath.Join(root, dir, name)
	if _, err := os.Stat(path); err != nil {
		why := name + " is not built; run: go build -C " + dir + " -o " + name + " ."
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return path
}

// newCipher makes a key of an emulated service.
func newCipher(t testing.TB) cipher.AEAD {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func answer(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked is gone
}
