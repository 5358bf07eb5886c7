package attest

import (
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Proof is which workload a request proves to be from, and by what.
type Proof struct {
	Workload name.Workload
	Method   string // [MethodLaunch], …
	ID       string // of what proves it, as of a launch; it holds no secret
}

// MethodLaunch is the method of launch tokens.
const MethodLaunch = "launch"

// Attestor tells whose proof a request shows. All methods may be called
// concurrently.
type Attestor interface {
	// Attest returns the proof that r shows. ok is false, and nothing else matters, if r shows none of the
	// kind that it knows: the next one is asked. A proof that proves nothing is a fault of kind Unauthenticated.
	// body is the whole body of the request, for signatures that cover it; r.Body must not be read.
	Attest(r *http.Request, body []byte) (p Proof, ok bool, err error)
}

// Bearer returns the bearer token of r (RFC 6750, section 2.1); "" if it has none,
// or several.
func Bearer(r *http.Request) string {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// Attest implements [Attestor].
func (l *Launches) Attest(r *http.Request, _ []byte) (Proof, bool, error) {
	token := Bearer(r)
	if !jwt.LooksLike(token, LaunchType) {
		return Proof{}, false, nil
	}
	launch, err := l.Verify(r.Context(), secret.FromString(token))
	return Proof{launch.Workload, MethodLaunch, launch.ID}, true, err
}
