package kmstest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
)

// AWS is AWS KMS with one symmetric key: JSON 1.1 over requests that are signed
// with SigV4, whose signatures it verifies.
type AWS struct {
	URL, ARN string
	// Refuse is the error that every request gets; "" for none. "500" stands for one of the service's own.
	Refuse atomic.Pointer[string]
	// Contexts counts the requests that bound a context.
	Contexts atomic.Int64

	t    testing.TB
	key  reqsign.Key
	aead interface {
		Seal(dst, nonce, plaintext, additional []byte) []byte
		Open(dst, nonce, ciphertext, additional []byte) ([]byte, error)
	}
}

// StartAWS starts it, and puts credentials for it into the environment.
func StartAWS(t *testing.T) *AWS {
	t.Helper()
	a := &AWS{
		ARN: "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", t: t, aead: newCipher(t),
		key: reqsign.Key{ID: "AKIDEXAMPLE", Secret: secret.FromString("the secret access key"), Session: secret.FromString("the session")},
	}
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": a.key.ID, "AWS_SECRET_ACCESS_KEY": a.key.Secret.RevealString(), "AWS_SESSION_TOKEN": a.key.Session.RevealString(),
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(k, v)
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.URL = server.URL
	return a
}

// Location is where the key is, for package kms.
func (a *AWS) Location() string { return "awskms:///" + a.ARN + "?endpoint=" + a.URL }

// awsFields are those of requests and answers.
type awsFields struct {
	KeyID               string            `json:"KeyId,omitempty"`
	Plaintext           []byte            `json:",omitempty"`
	CiphertextBlob      []byte            `json:",omitempty"`
	EncryptionContext   map[string]string `json:",omitempty"`
	EncryptionAlgorithm string            `json:",omitempty"`
}

// ServeHTTP implements [http.Handler].
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, kind string) {
		answer(w, "application/x-amz-json-1.1", status, map[string]string{"__type": kind, "message": "no"})
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return
	}
	signature, err := reqsign.Parse(r)
	if err == nil {
		err = signature.Verify(r, body, a.key, time.Now())
	}
	if err != nil || signature.Scope != (reqsign.Scope{Region: "eu-central-1", Service: "kms"}) {
		a.t.Errorf("the signature: %v, for %+v", err, signature.Scope)
		refuse(http.StatusBadRequest, "InvalidSignatureException")
		return
	}
	if kind := a.Refuse.Load(); kind != nil {
		if *kind == "500" {
			refuse(http.StatusInternalServerError, "KMSInternalException")
			return
		}
		refuse(http.StatusBadRequest, *kind)
		return
	}
	var in awsFields
	if err := json.Unmarshal(body, &in); err != nil || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		refuse(http.StatusBadRequest, "ValidationException")
		return
	}
	if in.KeyID != a.ARN {
		refuse(http.StatusBadRequest, "NotFoundException")
		return
	}
	if len(in.EncryptionContext) > 0 {
		a.Contexts.Add(1)
	}
	context, err := json.Marshal(in.EncryptionContext) // in the order of the names
	if err != nil {
		a.t.Error(err)
	}
	out := awsFields{KeyID: a.ARN, EncryptionAlgorithm: "SYMMETRIC_DEFAULT"}
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.") {
	case "Encrypt":
		out.CiphertextBlob = a.aead.Seal(nil, nil, in.Plaintext, context)
	case "Decrypt":
		if out.Plaintext, err = a.aead.Open(nil, nil, in.CiphertextBlob, context); err != nil {
			refuse(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
	default:
		refuse(http.StatusBadRequest, "UnknownOperationException")
		return
	}
	answer(w, "application/x-amz-json-1.1", http.StatusOK, out)
}
