package obtain

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
)

const (
	stsLifetime = time.Hour
	maxAnswer   = 64 << 10
)

// sts returns temporary keys for the provider's role, narrowed by the policy of
// the caller's workload, under a name that tells the cloud who uses them.
func (k *Kinds) sts(ctx context.Context, p guard.Permit, v provider.Provider, force bool) (provider.Credential, error) {
	c := p.Caller()
	policy, err := v.Options.STS.SessionPolicy(c.Workload.Name, v.Name)
	if err != nil {
		return provider.Credential{}, err
	}
	a := assumption{STS: *v.Options.STS, policy: string(policy), session: sessionName(c)}
	key := keptKey{v.ID, v.Version, quoted(c.Workload.Pool, c.Workload.Name, c.User.Issuer, c.User.Subject)}
	return k.kept.get(ctx, key, k.Now, force, func(ctx context.Context) (provider.Credential, error) {
		secretKey, err := k.Providers.Secret(ctx, p, v)
		if err != nil {
			return provider.Credential{}, err
		}
		defer secretKey.Clear()
		keys, expires, err := k.assume(ctx, a, reqsign.Key{ID: v.ClientID, Secret: secretKey})
		return provider.Credential{Type: v.Type, Expires: expires, Keys: keys}, err
	})
}

// assumption is one request to assume a role.
type assumption struct {
	provider.STS
	policy  string // of the session; may be empty
	session string // name of the session
}

// lifetime is how long the keys are to last.
func (a assumption) lifetime() time.Duration { return cmp.Or(a.Lifetime, stsLifetime) }

// granted is what a cloud answered.
type granted struct {
	keyID, secret, session string
	expires                time.Time
	role                   string
}

// assume asks the cloud. The endpoint is the operator's, so the answer is
// trusted no further than its form.
func (k *Kinds) assume(ctx context.Context, a assumption, key reqsign.Key) (provider.Keys, time.Time, error) {
	dialect := dialectOf(a.Cloud)
	r, body, err := dialect.request(a)
	if err != nil {
		return provider.Keys{}, time.Time{}, err
	}
	dialect.scheme.Sign(r, body, key, reqsign.Scope{Region: dialect.region(a), Service: "sts"}, k.Now())
	resp, err := k.Outbound.Do(ctx, outbound.Request{
		Method: r.Method, URL: r.URL.String(), Header: r.Header, Body: body, MaxBody: maxAnswer, Purpose: "temporary keys from " + string(a.Cloud),
	})
	if err != nil {
		return provider.Keys{}, time.Time{}, err
	}
	got, refusal := dialect.answer(resp.Body)
	switch {
	case refusal.code != "" || resp.Status != http.StatusOK:
		return provider.Keys{}, time.Time{}, a.failed(resp.Status, refusal)
	case got.keyID == "" || got.secret == "" || got.session == "" || !got.expires.After(k.Now()):
		return provider.Keys{}, time.Time{}, fault.New(fault.Upstream, "sts_answer_malformed", "the token service of %s answered without keys that last", a.Cloud).
			WithFix("check the provider's endpoint, and the clock of this machine")
	}
	return provider.Keys{
		Cloud: a.Cloud, Region: a.Region, AccessKeyID: name.Clip(got.keyID, 128), Role: name.Clip(cmp.Or(got.role, a.Role), 300),
		Secret: secret.FromString(got.secret), Session: secret.FromString(got.session),
	}, got.expires, nil
}

// The bounds of a session's name: 64 characters for both clouds.
const (
	maxSession    = 64
	sessionDigest = 12 // hexadecimal digits
)

// sessionName names who will use the keys, for the cloud's own log:
// "workload@pool", and for a user "workload@pool@subject" with a digest, since
// users are who they are together with their issuer. Names that are too long, or
// have characters that clouds do not take, get the digest as well, so that no
// two callers have one name.
func sessionName(c name.Caller) string {
	full := c.Workload.Name + "@" + c.Workload.Pool
	if !c.User.IsZero() {
		full += "@" + c.User.Subject
	}
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || r == '@' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '-'
	}, full)
	if c.User.IsZero() && plain == full && len(full) <= maxSession {
		return full
	}
	digest := sha256.Sum256([]byte(quoted(c.Workload.Pool, c.Workload.Name, c.User.Issuer, c.User.Subject)))
	return plain[:min(len(plain), maxSession-sessionDigest-1)] + "-" + hex.EncodeToString(digest[:])[:sessionDigest]
}
