package server

import (
	"crypto/x509"
	"net/url"

	"github.com/deputy-id/deputy/internal/accesskey"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/store"
)

// proofs are the ways in which workloads prove themselves that Deputy did not launch.
type proofs struct {
	trusted *attestor.Registry
	keys    *accesskey.Keys
}

func newProofs(c Config, db *store.DB, ring *keys.Ring, g *guard.Guard, out *outbound.Client) (proofs, error) {
	public, err := url.Parse(c.PublicURL)
	if err != nil {
		return proofs{}, fault.Wrap(err, fault.Invalid, "public_url_invalid", "the public URL is none").WithSource("--public-url")
	}
	attestors := store.Attestors{DB: db}
	trust := &attestor.Trust{Store: attestors, Sealer: ring, Reach: reacher(c, out), PublicURL: c.PublicURL, Guard: g, Now: c.Now}
	return proofs{
		trusted: &attestor.Registry{Store: attestors, Sealer: ring, Trust: trust, Guard: g, Now: c.Now},
		keys:    &accesskey.Keys{Store: store.AccessKeys{DB: db}, Sealer: ring, Guard: g, Host: public.Host, Now: c.Now},
	}, nil
}

// attestors are asked in this order. Each knows its own by their looks.
func (p proofs) attestors(s *Server, launches *attest.Launches) []attest.Attestor {
	all := []attest.Attestor{launches, p.keys}
	if s.cluster != nil {
		all = append(all, s.cluster)
	}
	return append(all, p.trusted.Trust)
}

// reacher returns what makes clients for clusters and trust domains: the one for
// third parties, or one that knows the certificate authority that they have of
// their own. Its connections end by themselves when nobody uses them.
func reacher(c Config, out *outbound.Client) func(authority string) (attestor.Sender, error) {
	return func(authority string) (attestor.Sender, error) {
		if authority == "" {
			return out, nil
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(authority)) {
			return nil, fault.New(fault.Internal, "authority_invalid", "a certificate authority that was saved is none")
		}
		return outbound.New(outbound.Config{Allow: c.AllowOutbound, UserAgent: "deputy/" + c.Version, Log: c.Logger, Roots: roots})
	}
}
