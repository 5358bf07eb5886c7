package kms

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// transit is a key in the transit engine of Vault or OpenBao, asked by two of
// its requests. See decision 13 for why that is not a library.
type transit struct {
	client    *outbound.Client
	base      string // "https://host:port"
	mount     string
	name      string
	namespace string
	tokenFile string      // read for each request, since an agent renews it; "" for token
	token     secret.Text // from the environment
	id        string
	where     string // for messages
}

var namespace = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./-]*$`)

func openTransit(l location, token secret.Text) (*transit, error) {
	t := &transit{
		base: "https://" + l.host, namespace: l.query.Get("namespace"), tokenFile: l.query.Get("token-file"), token: token,
		where: "Vault at " + l.host,
	}
	if l.scheme == schemeVaultHTTP {
		t.base = "http://" + l.host
	}
	mount, name := path.Split(l.key)
	t.mount, t.name = strings.TrimSuffix(mount, "/keys/"), name
	// The host is part of the id: two Vaults may each have a key of this name.
	t.id = "transit:" + l.host + "/" + strings.TrimPrefix(path.Join(t.namespace, l.key), "/")
	if t.namespace != "" && !namespace.MatchString(t.namespace) {
		return nil, invalid("the namespace in the root key's location is malformed")
	}
	if t.tokenFile == "" && token.Empty() {
		return nil, fault.New(fault.Invalid, "root_kms_token_missing", "there is no token for Vault").
			WithFix("name the file that your agent keeps it in with ?token-file= at the end of the root key's location, or set DEPUTY_VAULT_TOKEN")
	}
	roots, err := authorities(l.query.Get("ca-file"))
	if err != nil {
		return nil, err
	}
	t.client, err = outbound.New(outbound.Config{Allow: []string{l.host}, Timeout: requestTime, MaxBody: 64 << 10, Roots: roots})
	return t, err
}

// authorities reads the certificate authorities that Vault's certificate may be
// from; nil, the system's, without a file.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "root_kms_ca_unreadable", "the file of Vault's certificate authority cannot be read").WithSource(file)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fault.New(fault.Invalid, "root_kms_ca_unreadable", "there is no certificate in the file of Vault's certificate authority").WithSource(file).WithFix("it is to be PEM")
	}
	return pool, nil
}

// ID implements [keys.Root].
func (t *transit) ID() string { return t.id }

// transitFields are those of requests and answers. Byte slices are base64 in
// JSON, as the engine has it, and can be cleared.
type transitFields struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext string `json:"ciphertext,omitempty"`
	Context    []byte `json:"associated_data,omitempty"`
}

// transitForm is what the engine calls a ciphertext; it begins with the version of the key.
var transitForm = regexp.MustCompile(`^vault:v([0-9]{1,9}):[A-Za-z0-9+/=]+$`)

// Wrap implements [keys.Root].
func (t *transit) Wrap(ctx context.Context, context, key []byte) (wrapped []byte, version string, err error) {
	answer, err := t.ask(ctx, "encrypt", transitFields{Plaintext: key, Context: context})
	if err != nil {
		return nil, "", err
	}
	form := transitForm.FindStringSubmatch(answer.Ciphertext)
	if form == nil {
		return nil, "", unusable(nil, t.where, "answered something that is no ciphertext")
	}
	return []byte(answer.Ciphertext), form[1], nil
}

// Unwrap implements [keys.Root].
func (t *transit) Unwrap(ctx context.Context, context, wrapped []byte) ([]byte, error) {
	if !transitForm.Match(wrapped) { // another root key's
		return nil, mismatch(nil, t.where)
	}
	answer, err := t.ask(ctx, "decrypt", transitFields{Ciphertext: string(wrapped), Context: context})
	if err != nil {
		return nil, err
	}
	if len(answer.Plaintext) == 0 {
		return nil, unusable(nil, t.where, "answered nothing")
	}
	return answer.Plaintext, nil
}

func (t *transit) ask(ctx context.Context, operation string, in transitFields) (transitFields, error) {
	token, err := t.readToken()
	if err != nil {
		return transitFields{}, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return transitFields{}, err
	}
	defer clear(body)
	header := http.Header{"Content-Type": {"application/json"}, "X-Vault-Token": {token.RevealString()}, "X-Vault-Request": {"true"}}
	if t.namespace != "" {
		header.Set("X-Vault-Namespace", t.namespace)
	}
	resp, err := t.client.Do(ctx, outbound.Request{
		Method: http.MethodPost, URL: t.base + "/v1/" + t.mount + "/" + operation + "/" + t.name, Header: header, Body: body, Purpose: operation + " with the root key",
	})
	if err != nil {
		return transitFields{}, unreachable(err, t.where,
			"check that it runs, that this machine may connect to it, and its certificate: one of a private authority needs ?ca-file= in the root key's location")
	}
	defer clear(resp.Body)
	if resp.Status != http.StatusOK {
		return transitFields{}, t.refused(operation, resp)
	}
	var answer struct {
		Data transitFields `json:"data"`
	}
	if err := wire.DecodeForeign(resp.Body, &answer); err != nil {
		return transitFields{}, unusable(err, t.where, "answered something that cannot be understood")
	}
	return answer.Data, nil
}

func (t *transit) readToken() (secret.Text, error) {
	if t.tokenFile == "" {
		return t.token, nil
	}
	f, err := os.Open(t.tokenFile)
	if err == nil {
		defer f.Close() // only read
		var b []byte
		if b, err = wire.ReadAll(f, 4<<10); err == nil {
			if b = bytes.TrimSpace(b); len(b) > 0 && !bytes.ContainsAny(b, "\r\n") {
				return secret.New(b), nil
			}
			err = errors.New("there is not one token in it")
		}
	}
	return secret.Text{}, fault.Wrap(err, fault.Unavailable, "root_kms_token_missing", "the token for Vault cannot be read").WithSource(t.tokenFile).
		WithFix("check that your agent keeps it there, and that Deputy's user may read it")
}

// refused says what an answer that is no success means, and what to do next. The
// engine tells most by its texts only.
func (t *transit) refused(operation string, resp outbound.Response) error {
	var answer struct {
		Errors []string `json:"errors"`
	}
	_ = wire.DecodeForeign(resp.Body, &answer) // without texts, the status has to do
	said := strings.ToLower(strings.Join(answer.Errors, "; "))
	err := fmt.Errorf("status %d: %.500q", resp.Status, said)
	has := func(text string) bool { return strings.Contains(said, text) }
	switch {
	case has("sealed"), has("not initialized"):
		return fault.Wrap(err, fault.Unavailable, "root_key_sealed", "the root key cannot be asked: %s is sealed", t.where).WithFix("unseal it: vault operator unseal")
	case resp.Status == http.StatusForbidden:
		return denied(err, t.where, fmt.Sprintf("renew the token, if it has expired; its policy needs the capability update on %[1]s/encrypt/%[2]s and %[1]s/decrypt/%[2]s", t.mount, t.name))
	case resp.Status == http.StatusNotFound, has("key not found"):
		return missing(err, t.where, fmt.Sprintf("check mount and name in the root key's location; a new key is made with: vault write -f %s/keys/%s", t.mount, t.name))
	case has("too old"):
		return disabled(err, t.where, "lower the key's min_decryption_version until deputy keys rotate --root is done")
	case has("associated_data"), has("missing 'context'"), has("derived"):
		return fault.Wrap(err, fault.Unavailable, "root_key_disabled", "the root key in %s is of a type that binds no context", t.where).
			WithFix("use one of type aes256-gcm96 or chacha20-poly1305 that is not derived")
	case resp.Status == http.StatusBadRequest && operation == "decrypt":
		return mismatch(err, t.where)
	case resp.Status == http.StatusTemporaryRedirect:
		return unusable(err, t.where, "is a standby that does not forward requests: name the active one, or a load balancer, in the root key's location")
	default:
		return unusable(err, t.where, fmt.Sprintf("answered with status %d", resp.Status))
	}
}
