package storetest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
)

// SignIn returns a complete SignIn on these pools, for the site at publicURL;
// now may be nil, for time.Now.
func (p Pools) SignIn(t testing.TB, publicURL string, g *guard.Guard, now func() time.Time) *signin.SignIn {
	t.Helper()
	root, err := keys.NewLocal(secret.New(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(t.Context(), root, store.Keys{DB: p.DB}, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	party, err := factor.NewRelyingParty(publicURL)
	if err != nil {
		t.Fatal(err)
	}
	breached, err := userpool.NewBreached("")
	if err != nil {
		t.Fatal(err)
	}
	return &signin.SignIn{
		PublicURL: publicURL, Users: p, Sessions: p, Attempts: store.Attempts{DB: p.DB},
		Factors:   &factor.Registry{Stores: store.Factors{DB: p.DB}, Sealer: ring, Guard: g, Party: party, Now: now},
		Passwords: &userpool.Passwords{Hasher: userpool.NewHasher(1), Breached: breached}, Throttle: signin.NewThrottle(now),
		Guard: g, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: now,
	}
}

// TOTP returns the code that an authenticator app with the seed of
// [factor.NewSeed] shows at a time, computed by itself: RFC 6238 with SHA-1, six
// digits and 30 seconds.
func TOTP(seed secret.Text, at time.Time) secret.Text {
	key, err := base32.StdEncoding.DecodeString(seed.RevealString())
	if err != nil {
		return secret.Text{}
	}
	m := hmac.New(sha1.New, key)
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := m.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return secret.FromString(fmt.Sprintf("%06d", n%1_000_000))
}
