package notice

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
)

// The headers of a delivery (Standard Webhooks 1.0, "Webhook metadata").
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// secretPrefix lets people and secret scanners recognize what it is.
const secretPrefix = "whsec_"

// newSecret returns a fresh signing secret: its key, and how it is shown to
// whoever has to verify.
func newSecret() (key, shown secret.Text) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand, since Go 1.24)
	return secret.New(b), secret.FromString(secretPrefix + base64.StdEncoding.EncodeToString(b))
}

// sign returns the headers that prove that a message comes from whoever has the
// key, and when it was sent: HMAC-SHA256 over id, time and body (Standard
// Webhooks 1.0, "Signature scheme").
func sign(key secret.Text, id string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key.Reveal())
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body) // a hash takes everything
	return http.Header{
		"Content-Type": {"application/json"}, headerID: {id}, headerTimestamp: {stamp},
		headerSignature: {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
}
