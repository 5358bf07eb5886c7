package kms

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	oauthgoogle "golang.org/x/oauth2/google"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/wire"
)

// google is a symmetric key in Google Cloud KMS, asked by two of its requests
// with the access tokens of Google's own library. See decision 13.
type google struct {
	client *outbound.Client
	tokens oauth2.TokenSource
	base   string
	key    string // "projects/…/cryptoKeys/…"
}

const (
	googleWhere    = "Google Cloud KMS"
	googleEndpoint = "https://cloudkms.googleapis.com"
	googleScope    = "https://www.googleapis.com/auth/cloudkms"
)

func openGoogle(ctx context.Context, l location) (*google, error) {
	g := &google{base: googleEndpoint, key: l.key}
	if endpoint := l.query.Get("endpoint"); endpoint != "" {
		g.base = strings.TrimSuffix(endpoint, "/")
	}
	// The source outlives the call that made it; each of its requests is bounded by the client.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Timeout: requestTime})
	found, err := oauthgoogle.FindDefaultCredentials(ctx, googleScope)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "root_kms_invalid", "there are no credentials for Google Cloud in the environment").
			WithFix("set GOOGLE_APPLICATION_CREDENTIALS, or run where a service account is attached")
	}
	g.tokens = found.TokenSource
	u, err := url.Parse(g.base)
	if err != nil {
		return nil, invalid("the endpoint in the root key's location is no https address")
	}
	host := u.Host
	if u.Port() == "" {
		host += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	}
	g.client, err = outbound.New(outbound.Config{Allow: []string{host}, Timeout: requestTime, MaxBody: 256 << 10})
	return g, err
}

// ID implements [keys.Root].
func (g *google) ID() string { return "gcpkms:" + g.key }

// googleFields are those of requests and answers. Byte slices are base64 in
// JSON; checksums are numbers in text.
type googleFields struct {
	Name              string `json:"name,omitempty"` // the key's version
	Plaintext         []byte `json:"plaintext,omitempty"`
	PlaintextSum      int64  `json:"plaintextCrc32c,omitempty,string"`
	Ciphertext        []byte `json:"ciphertext,omitempty"`
	CiphertextSum     int64  `json:"ciphertextCrc32c,omitempty,string"`
	Context           []byte `json:"additionalAuthenticatedData,omitempty"`
	ContextSum        int64  `json:"additionalAuthenticatedDataCrc32c,omitempty,string"`
	PlaintextVerified bool   `json:"verifiedPlaintextCrc32c,omitempty"`
	ContextVerified   bool   `json:"verifiedAdditionalAuthenticatedDataCrc32c,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) int64 { return int64(crc32.Checksum(b, castagnoli)) }

// Wrap implements [keys.Root].
func (g *google) Wrap(ctx context.Context, context, key []byte) (wrapped []byte, version string, err error) {
	answer, err := g.ask(ctx, "encrypt", googleFields{Plaintext: key, PlaintextSum: sum(key), Context: context, ContextSum: sum(context)})
	if err != nil {
		return nil, "", err
	}
	version, ok := strings.CutPrefix(answer.Name, g.key+"/cryptoKeyVersions/")
	if !ok || strings.ContainsAny(version, "#/") || !answer.PlaintextVerified || !answer.ContextVerified || sum(answer.Ciphertext) != answer.CiphertextSum {
		return nil, "", unusable(nil, googleWhere, "did not encrypt what it was asked to: it was altered on the way")
	}
	return answer.Ciphertext, version, nil
}

// Unwrap implements [keys.Root].
func (g *google) Unwrap(ctx context.Context, context, wrapped []byte) ([]byte, error) {
	answer, err := g.ask(ctx, "decrypt", googleFields{Ciphertext: wrapped, CiphertextSum: sum(wrapped), Context: context, ContextSum: sum(context)})
	if err != nil {
		return nil, err
	}
	if len(answer.Plaintext) == 0 || sum(answer.Plaintext) != answer.PlaintextSum {
		return nil, unusable(nil, googleWhere, "answered something that was altered on the way")
	}
	return answer.Plaintext, nil
}

func (g *google) ask(ctx context.Context, operation string, in googleFields) (googleFields, error) {
	ctx, cancel := withRequestTime(ctx)
	defer cancel()
	token, err := g.tokens.Token()
	if err != nil {
		return googleFields{}, denied(err, googleWhere, "Google gives no access token for the credentials of the environment; check them with: gcloud auth application-default print-access-token")
	}
	body, err := json.Marshal(in)
	if err != nil {
		return googleFields{}, err
	}
	defer clear(body)
	resp, err := g.client.Do(ctx, outbound.Request{
		Method: http.MethodPost, URL: g.base + "/v1/" + g.key + ":" + operation, Body: body, Purpose: operation + " with the root key",
		Header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token.AccessToken}},
	})
	if err != nil {
		return googleFields{}, unreachable(err, googleWhere, "check that this machine may connect to it")
	}
	defer clear(resp.Body)
	if resp.Status != http.StatusOK {
		return googleFields{}, googleRefused(resp)
	}
	var answer googleFields
	if err := wire.DecodeForeign(resp.Body, &answer); err != nil {
		return googleFields{}, unusable(err, googleWhere, "answered something that cannot be understood")
	}
	return answer, nil
}

// googleRefused says what an answer that is no success means, and what to do next.
func googleRefused(resp outbound.Response) error {
	var answer struct {
		Error struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = wire.DecodeForeign(resp.Body, &answer) // without a text, the status has to do
	err := fmt.Errorf("status %d: %.100q %.500q", resp.Status, answer.Error.Status, answer.Error.Message)
	switch {
	case answer.Error.Status == "FAILED_PRECONDITION":
		return disabled(err, googleWhere, "enable the version of the key, or restore it if its destruction is scheduled; destroy one only after deputy keys rotate --root")
	case resp.Status == http.StatusBadRequest:
		return mismatch(err, googleWhere)
	case resp.Status == http.StatusForbidden, resp.Status == http.StatusUnauthorized:
		return denied(err, googleWhere, "Deputy's service account needs the role roles/cloudkms.cryptoKeyEncrypterDecrypter on the key")
	case resp.Status == http.StatusNotFound:
		return missing(err, googleWhere, "check the location of the root key")
	default:
		return unusable(err, googleWhere, fmt.Sprintf("answered with status %d", resp.Status))
	}
}
