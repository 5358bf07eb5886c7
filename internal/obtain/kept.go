package obtain

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
)

const (
	keptCount   = 10_000           // credentials; about 20 MB
	forceAge    = 10 * time.Second // before, what is kept is good enough for force too
	fetchTime   = 20 * time.Second // that one flight may take
	leastMargin = time.Minute
)

// kept are credentials that third parties gave for a time. The zero kept is
// empty and usable.
type kept struct {
	once    sync.Once
	cache   *otter.Cache[keptKey, keptValue]
	flights singleflight.Group
}

// keptKey says what a credential is good for. The version is the provider's:
// after a change of its settings, nothing that came of the old ones is found.
type keptKey struct {
	provider string // its id
	version  int64
	purpose  string // whom and what for, within the provider: what quoted returns
}

type keptValue struct {
	credential provider.Credential
	made       time.Time
}

// get returns a copy of what is kept for key, or else fetches it, once for all
// who want it at the same time. A caller who gives up leaves the others their
// flight, which has a deadline of its own.
func (k *kept) get(ctx context.Context, key keptKey, now func() time.Time, force bool, fetch func(ctx context.Context) (provider.Credential, error)) (provider.Credential, error) {
	k.once.Do(func() { k.cache = otter.Must(&otter.Options[keptKey, keptValue]{MaximumSize: keptCount}) })
	if c, ok := k.find(key, now(), force); ok {
		return clone(c), nil
	}
	flight := k.flights.DoChan(key.flight(), func() (any, error) {
		if c, ok := k.find(key, now(), force); ok { // of the flight that landed just before
			return c, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
		defer cancel()
		c, err := fetch(ctx)
		if err == nil && !c.Expires.IsZero() {
			k.cache.Set(key, keptValue{c, now()})
		}
		return c, err
	})
	select {
	case r := <-flight:
		if r.Err != nil {
			return provider.Credential{}, r.Err
		}
		return clone(r.Val.(provider.Credential)), nil
	case <-ctx.Done():
		return provider.Credential{}, fault.Wrap(ctx.Err(), fault.Unavailable, "credential_slow", "the third party did not answer before the caller gave up").WithFix("try again in a moment")
	}
}

// find returns what is kept for key if it lasts: its last tenth, and at least
// its last minute, are not given away.
func (k *kept) find(key keptKey, now time.Time, force bool) (provider.Credential, bool) {
	v, ok := k.cache.GetIfPresent(key)
	if !ok || force && now.Sub(v.made) >= forceAge {
		return provider.Credential{}, false
	}
	margin := max(leastMargin, v.credential.Expires.Sub(v.made)/10)
	return v.credential, now.Add(margin).Before(v.credential.Expires)
}

// clone copies the secrets too: whoever gets a credential may clear it.
func clone(c provider.Credential) provider.Credential {
	for _, s := range []*secret.Text{&c.Token.Access, &c.Keys.Secret, &c.Keys.Session} {
		*s = secret.New(bytes.Clone(s.Reveal()))
	}
	return c
}

// flight is the key as text.
func (k keptKey) flight() string {
	return k.provider + "/" + strconv.FormatInt(k.version, 10) + "/" + k.purpose // ids have no "/"
}

// quoted makes one text of parts that strangers may have chosen; no other parts
// make the same.
func quoted(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(strconv.Quote(p))
	}
	return b.String()
}
