package attest

import (
	"context"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// MethodSPIFFE is the method of JWT-SVIDs.
const MethodSPIFFE = "spiffe"

// SPIFFEScheme begins every SPIFFE ID, and stands before a trust domain where it
// has to be told from an issuer.
const SPIFFEScheme = "spiffe://"

const (
	maxSPIFFEID    = 2048 // bytes (SPIFFE-ID, section 2.3)
	maxTrustDomain = 255
)

// SPIFFEID is the identity of a workload of whatever trust domain.
type SPIFFEID struct {
	TrustDomain string
	Path        string // "/ns/agents/sa/doc"
}

// String returns the identity as it is written.
func (id SPIFFEID) String() string { return SPIFFEScheme + id.TrustDomain + id.Path }

// ParseSPIFFEID reads the SPIFFE ID of a workload (SPIFFE-ID, section 2). It
// returns a fault of kind Invalid for anything else, as for the ID of a trust
// domain, which has no path and is nobody's.
func ParseSPIFFEID(s string) (SPIFFEID, error) {
	rest, ok := strings.CutPrefix(s, SPIFFEScheme)
	domain, path, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || len(s) > maxSPIFFEID || !IsTrustDomain(domain) {
		return SPIFFEID{}, notSPIFFE(s)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if !IsPathSegment(segment) {
			return SPIFFEID{}, notSPIFFE(s)
		}
	}
	return SPIFFEID{domain, "/" + path}, nil
}

func notSPIFFE(s string) error {
	return fault.New(fault.Invalid, "spiffe_id_invalid", "%q is not the SPIFFE ID of a workload", name.Clip(s, 200))
}

// IsTrustDomain reports whether s is the name of a trust domain (SPIFFE-ID,
// section 2.1).
func IsTrustDomain(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxTrustDomain
}

// IsPathSegment reports whether s can stand between the slashes of a SPIFFE ID
// (SPIFFE-ID, section 2.2).
func IsPathSegment(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// SPIFFE verifies the JWT-SVIDs of one trust domain.
type SPIFFE struct {
	Keys        Keys
	TrustDomain string
	Audience    string // that they must be for, and nobody else
	Now         func() time.Time
}

// Verify returns whose SVID token is (SPIFFE JWT-SVID, sections 2 to 4), or a
// fault: those of [jwt.Issuer.Verify], or of kind Unauthenticated for one of another
// trust domain, that lives for longer than [MaxForeignLife] or is meant for
// others, too.
func (s SPIFFE) Verify(ctx context.Context, token secret.Text) (SPIFFEID, error) {
	claims, err := s.Keys.Verify(ctx, token.RevealString(), jwt.Expect{
		AnyIssuer: true, // the trust domain is in the subject
		Audience:  s.Audience, Types: []string{"JWT", "JOSE"}, Untyped: true,
		Algorithms: []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}, Skew: jwt.MaxSkew, Now: s.Now,
	})
	if err != nil {
		return SPIFFEID{}, err
	}
	if err := forUsAlone(claims, s.Now()); err != nil {
		return SPIFFEID{}, err
	}
	id, err := ParseSPIFFEID(claims.Subject)
	if err != nil || id.TrustDomain != s.TrustDomain {
		return SPIFFEID{}, fault.Wrap(err, fault.Unauthenticated, "token_subject", "the SVID is not one of trust domain %s", s.TrustDomain)
	}
	return id, nil
}
