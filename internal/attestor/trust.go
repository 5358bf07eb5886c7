package attestor

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Trust tells which workload a foreign proof is of; it implements
// [attest.Attestor]. All fields are required. All methods may be called
// concurrently.
type Trust struct {
	Store  Store
	Sealer Sealer
	// Reach returns what asks a cluster or a trust domain. authority is a certificate authority in PEM; empty stands
	// for those of the system.
	Reach     func(authority string) (Sender, error)
	PublicURL string // whom proofs are for, unless the attestor says otherwise
	Guard     *guard.Guard
	Now       func() time.Time

	mu      sync.Mutex
	sources map[string]known // by id of the attestor; only operators add to it
}

// known is a source in the version that its attestor had.
type known struct {
	*source
	version int64
}

// Attest implements [attest.Attestor]. Only those who say that they make proofs of
// a subject's issuer judge it, and of them only those who know the subject. A proof
// by which a request would be two workloads' is refused, whichever is meant; so is
// one that somebody of them cannot judge now.
func (t *Trust) Attest(r *http.Request, _ []byte) (attest.Proof, bool, error) {
	token := secret.FromString(attest.Bearer(r))
	claimed := claimedBy(token)
	if len(claimed) == 0 {
		return attest.Proof{}, false, nil
	}
	var issuers []string
	for _, c := range claimed {
		issuers = append(issuers, c.issuer)
	}
	all, err := t.Store.AttestorsOf(r.Context(), issuers...)
	if err != nil {
		return attest.Proof{}, true, err
	}
	if len(all) == 0 {
		return attest.Proof{}, false, nil
	}
	judges := judgesOf(all, claimed)
	if len(judges) == 0 {
		return attest.Proof{}, true, t.unknown(r.Context(), all[0], token)
	}
	p, err := t.judge(r.Context(), judges, token)
	return p, true, err
}

// claim is what a token that nobody has verified says about itself.
type claim struct {
	kind            Kind
	issuer, subject string // as attestors and rules write them
}

// claimedBy returns whose a token could be: that of a service account, an SVID, or
// nobody's.
func claimedBy(token secret.Text) []claim {
	var list []claim
	issuer, subject := jwt.Claimed(token.RevealString())
	if namespace, account, ok := attest.ParseAccount(subject); ok && issuer != "" {
		list = append(list, claim{Kubernetes, issuer, attest.Account{Namespace: namespace, Name: account}.Subject()})
	}
	if id, err := attest.ParseSPIFFEID(subject); err == nil {
		list = append(list, claim{SPIFFE, attest.SPIFFEScheme + id.TrustDomain, id.Path})
	}
	return list
}

// judgesOf returns the attestors to whom what is claimed is a workload.
func judgesOf(all []Attestor, claimed []claim) []Attestor {
	var judges []Attestor
	for _, a := range all {
		for _, c := range claimed {
			if _, ok := a.workload(c.subject); ok && a.Kind == c.kind && a.Issuer == c.issuer {
				judges = append(judges, a)
			}
		}
	}
	return judges
}

// unknown returns the fault of a proof whose subject no rule names: what is wrong
// with it, if it proves nothing either.
func (t *Trust) unknown(ctx context.Context, a Attestor, token secret.Text) error {
	subject, err := t.verify(ctx, a, token)
	if err != nil {
		return err
	}
	return t.refuse(ctx, a, fault.New(fault.Unauthenticated, "proof_unmapped", "the proof is good, and %s is no workload", name.Clip(subject, 200)).
		WithFix("an operator says which workload it is: deputy attestor update"), map[string]string{"subject": name.Clip(subject, 500)})
}

// judge verifies a token with all of judges, of which there is one at least.
func (t *Trust) judge(ctx context.Context, judges []Attestor, token secret.Text) (attest.Proof, error) {
	var proof attest.Proof
	var refusal error
	for _, a := range judges {
		subject, err := t.verify(ctx, a, token)
		if fault.Is(err, fault.Unauthenticated) {
			refusal = err // as of another cluster that calls itself by the same name
			continue
		}
		if err != nil {
			return attest.Proof{}, err
		}
		workload, ok := a.workload(subject)
		w := name.Workload{Pool: a.Pool, Name: workload}
		switch {
		case !ok || proof.Workload == w:
		case proof.Workload.IsZero():
			proof = attest.Proof{Workload: w, Method: a.method(), ID: a.Name + ":" + subject}
		default:
			return attest.Proof{}, t.refuse(ctx, a, fault.New(fault.Unauthenticated, "proof_ambiguous", "the proof is one of %s and of %s", proof.Workload, w).
				WithFix("an operator decides which one it is: deputy attestor update"), map[string]string{"subject": name.Clip(subject, 500), "workloads": proof.Workload.String() + " " + w.String()})
		}
	}
	if proof.Workload.IsZero() {
		return attest.Proof{}, refusal
	}
	return proof, nil
}

func (a Attestor) method() string {
	if a.Kind == SPIFFE {
		return attest.MethodSPIFFE
	}
	return attest.MethodKubernetes
}

// refuse records the refusal of a proof that is good, which strangers do not have.
func (t *Trust) refuse(ctx context.Context, a Attestor, cause *fault.Error, detail map[string]string) error {
	if err := t.Guard.Refuse(ctx, name.Caller{}, ActionVouch, Resource(a.Pool, a.Name), cause.Code, detail); err != nil {
		return err
	}
	return cause
}

// verify returns the subject of a proof that a vouches for.
func (t *Trust) verify(ctx context.Context, a Attestor, token secret.Text) (string, error) {
	s, err := t.source(a)
	if err != nil {
		return "", err
	}
	return s.verify(ctx, token)
}

// source returns what verifies the proofs of a. Its keys outlive changes of other
// attestors, and an outage of whoever publishes them.
func (t *Trust) source(a Attestor) (*source, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.sources[a.ID]; ok && k.version == a.Version {
		return k.source, nil
	}
	s, err := t.newSource(a.Settings, func(ctx context.Context) (secret.Text, error) {
		now, err := t.Store.Attestor(ctx, a.Pool, a.Name) // sealed anew, perhaps
		if err != nil {
			return secret.Text{}, err
		}
		return t.Sealer.Open(ctx, now.place(), now.Sealed)
	})
	if err != nil {
		return nil, err
	}
	if t.sources == nil {
		t.sources = map[string]known{}
	}
	t.sources[a.ID] = known{s, a.Version}
	return s, nil
}

// try finds out whether proofs could be verified with settings: it fetches the keys,
// and has a token reviewed that is none.
func (t *Trust) try(ctx context.Context, s Settings) error {
	// A copy each time, because what is opened for a request is cleared after it.
	src, err := t.newSource(s, func(context.Context) (secret.Text, error) { return secret.FromString(s.Reviewer.RevealString()), nil })
	if err != nil {
		return err
	}
	issuer, err := src.keys.Issuer(ctx)
	var why *fault.Error
	if errors.As(errors.Unwrap(err), &why) { // what an operator can do something about
		err = why
	}
	if err != nil {
		return fault.As(err).WithSource(src.keysField())
	}
	if s.discovers() && issuer != s.Issuer {
		return wrong("issuer", "the cluster's issuer is %q", name.Clip(issuer, 200)).WithFix("give it letter by letter")
	}
	if s.Server == "" {
		return nil
	}
	_, err = attest.Review(ctx, src.post, secret.FromString("none"), src.audience)
	switch {
	case err == nil:
		return wrong("server", "the API server takes a token that is none")
	case fault.HasCode(err, "token_reviewed"):
		return nil
	default:
		return fault.As(err).WithSource("server")
	}
}
