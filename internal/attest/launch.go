// Package attest has the proofs of workload identity: launch tokens, which the runtime gives to the agents that it starts, service accounts' tokens of Kubernetes, and JWT-SVIDs of SPIFFE.
//
// It says whose proof something is: a workload's launch, an account of a cluster, a
// SPIFFE ID. Which workload an account or a SPIFFE ID is, operators say (package
// attestor).
//
// A launch token says "whoever holds me was started as this workload". The
// holder trades it for workload access tokens. It dies with the launch that it
// was made for, before its own time if need be. Whoever proves his identity in
// another way is known by another [Attestor].
package attest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// LaunchType is the "typ" header of a launch token. No other token of Deputy
// has it, so none can be taken for one.
const LaunchType = "launch+jwt"

// MaxLaunchLife bounds the life of a launch token.
const MaxLaunchLife = 10 * time.Minute

// Launch is one run of an agent.
type Launch struct {
	ID       string // "launch_…", one for each start
	Workload name.Workload
}

// Launches mints and verifies launch tokens. All methods may be called
// concurrently.
type Launches struct {
	config LaunchesConfig
	keys   jwt.Current
}

// LaunchesConfig says with what launch tokens are signed and how they are judged.
type LaunchesConfig struct {
	Issuer      string // Deputy's public URL: "iss" and "aud"
	TrustDomain string
	Keys        []jwt.Key // to begin with; the last one signs
	// Live reports whether the launch with that id is still running. The token
	// of a launch that ended is refused. It must be safe for concurrent use.
	Live func(ctx context.Context, launchID string) (bool, error)
	Now  func() time.Time // nil means time.Now
}

// NewLaunches returns a minter and verifier of launch tokens, or a fault of
// kind Internal for a config that would believe everything or nothing.
func NewLaunches(c LaunchesConfig) (*Launches, error) {
	if c.Issuer == "" || c.TrustDomain == "" || len(c.Keys) == 0 || c.Live == nil {
		return nil, fault.New(fault.Internal, "attest_config", "launch tokens need an issuer, a trust domain, a key and a judge of liveness")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Launches{config: c}
	l.Use(c.Keys)
	return l, nil
}

// Use replaces the keys, when they are rotated; the last one signs.
func (l *Launches) Use(keys []jwt.Key) { l.keys.Use(keys...) }

type launchClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"` // SPIFFE ID
	Launch   string `json:"launch_id"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
}

// Mint returns a token for a launch and its expiry, ttl from now. ttl must be
// positive and at most [MaxLaunchLife].
func (l *Launches) Mint(launch Launch, ttl time.Duration) (secret.Text, time.Time, error) {
	if ttl <= 0 || ttl > MaxLaunchLife || launch.ID == "" || launch.Workload.IsZero() {
		return secret.Text{}, time.Time{}, fault.New(fault.Internal, "launch_token", "a launch token cannot live for %v", ttl)
	}
	now := l.config.Now()
	expires := now.Add(ttl).Truncate(time.Second)
	token, err := jwt.Sign(l.keys.Signer(), LaunchType, launchClaims{
		Issuer: l.config.Issuer, Audience: l.config.Issuer, Subject: launch.Workload.SPIFFEID(l.config.TrustDomain), Launch: launch.ID,
		IssuedAt: now.Unix(), Expires: expires.Unix(), ID: name.NewID("lt"),
	})
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return secret.FromString(token), expires, nil
}

// Verify returns the launch that a token proves. Otherwise it returns a fault of
// kind Unauthenticated: those of [jwt.Set.Verify], or launch_ended when the
// agent was stopped, restarted, or belonged to an earlier run of Deputy.
func (l *Launches) Verify(ctx context.Context, token secret.Text) (Launch, error) {
	claims, err := l.keys.Set().Verify(token.RevealString(), jwt.Expect{
		Issuer: l.config.Issuer, Audience: l.config.Issuer, Types: []string{LaunchType},
		Algorithms: []string{jwt.ES256, jwt.EdDSA}, Now: l.config.Now,
	})
	if err != nil {
		return Launch{}, err
	}
	var c launchClaims
	if err := json.Unmarshal(claims.Raw, &c); err != nil {
		return Launch{}, badClaims(err)
	}
	w, err := name.ParseSPIFFEID(l.config.TrustDomain, claims.Subject)
	if err != nil || c.Launch == "" || claims.ExpiresAt.Sub(claims.IssuedAt) > MaxLaunchLife {
		return Launch{}, badClaims(err)
	}
	live, err := l.config.Live(ctx, c.Launch)
	if err != nil {
		return Launch{}, err
	}
	if !live {
		return Launch{}, fault.New(fault.Unauthenticated, "launch_ended", "the launch that this token was made for has ended").
			WithFix("read the launch file again: it is replaced when the agent is started")
	}
	return Launch{c.Launch, w}, nil
}

func badClaims(err error) error {
	return fault.Wrap(err, fault.Unauthenticated, "token_malformed", "the launch token has claims that Deputy does not write")
}
