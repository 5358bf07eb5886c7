package deputy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"time"
)

const (
	keysFresh   = 10 * time.Minute // after this, ask again
	keysStale   = 24 * time.Hour   // so long may Deputy's key page be out of reach
	keysPause   = 30 * time.Second // least time between two requests, whatever is asked for
	maxKeysSize = 256 << 10
	maxKeys     = 64
)

// keySet is the cache of Deputy's public keys. turn is a lock whose waiters can
// be cancelled.
type keySet struct {
	turn    chan struct{}
	keys    map[string]*ecdsa.PublicKey
	fetched time.Time // when keys were last read
	tried   time.Time // when that was last attempted
}

func newKeySet() *keySet { return &keySet{turn: make(chan struct{}, 1)} }

// key returns the key named kid. It fetches the set when the cache is old or
// does not know kid, but no more often than [keysPause]: the kid is chosen by
// whoever sent the token.
func (s *keySet) key(ctx context.Context, kid string, now func() time.Time, fetch func(context.Context) ([]byte, error)) (*ecdsa.PublicKey, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	key := s.keys[kid]
	age := now().Sub(s.fetched)
	if key != nil && age < keysFresh {
		return key, nil
	}
	var fetchErr error
	if s.tried.IsZero() || now().Sub(s.tried) >= keysPause || s.keys == nil {
		fetchErr = s.fetch(ctx, now(), fetch)
		key, age = s.keys[kid], now().Sub(s.fetched)
	}
	switch {
	case key != nil && age < keysStale:
		return key, nil
	case fetchErr != nil:
		return nil, fetchErr
	default:
		return nil, refuse("token_unknown_key", "the token is signed with a key that Deputy does not publish")
	}
}

func (s *keySet) fetch(ctx context.Context, now time.Time, fetch func(context.Context) ([]byte, error)) error {
	b, err := fetch(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // the caller left; that says nothing about the keys
	}
	s.tried = now
	if err != nil {
		return err
	}
	keys, err := parseKeys(b)
	if err != nil {
		return err
	}
	s.keys, s.fetched = keys, now
	return nil
}

// parseKeys reads the P-256 signing keys of a JWK set (RFC 7517, section 5) and
// passes over all others.
func parseKeys(b []byte) (map[string]*ecdsa.PublicKey, error) {
	var wire struct {
		Keys []struct {
			Type string `json:"kty"`
			Use  string `json:"use"`
			Alg  string `json:"alg"`
			Kid  string `json:"kid"`
			Crv  string `json:"crv"`
			X    string `json:"x"`
			Y    string `json:"y"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(b, &wire); err != nil || len(wire.Keys) > maxKeys {
		return nil, &Error{Code: "keys_malformed", Message: "Deputy's key set cannot be read", cause: err}
	}
	keys := make(map[string]*ecdsa.PublicKey, len(wire.Keys))
	for _, k := range wire.Keys {
		if k.Type != "EC" || k.Crv != "P-256" || k.Kid == "" || (k.Use != "" && k.Use != "sig") || (k.Alg != "" && k.Alg != "ES256") {
			continue
		}
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			continue
		}
		point := append(append([]byte{4}, x...), y...) // SEC 1, section 2.3.3: uncompressed
		if key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err == nil {
			keys[k.Kid] = key
		}
	}
	if len(keys) == 0 {
		return nil, refuse("keys_malformed", "Deputy's key set has no ES256 key")
	}
	return keys, nil
}
