package attest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// MethodKubernetes is the method of the tokens that Kubernetes projects into pods.
const MethodKubernetes = "kubernetes"

// MaxForeignLife bounds the life of what proves a workload and was made by
// others. Kubelets ask for an hour; a token for months is a password.
const MaxForeignLife = 24 * time.Hour

// maxObjectName bounds the name of a service account, in bytes.
const maxObjectName = 253

// accountPrefix begins the name of a service account, as the API server knows it.
const accountPrefix = "system:serviceaccount:"

// Account is the Kubernetes service account that a token proves.
type Account struct {
	Namespace, Name string
	UID             string // of the account: another one of the same name has another one
	Pod             string // that the token is bound to; "" for none
}

// Subject returns the account as rules write it: "namespace/name".
func (a Account) Subject() string { return a.Namespace + "/" + a.Name }

// ParseAccount reads the name under which the API server knows a service account:
// the "sub" of its tokens, and the username of reviews.
func ParseAccount(subject string) (namespace, name string, ok bool) {
	rest, is := strings.CutPrefix(subject, accountPrefix)
	namespace, name, two := strings.Cut(rest, ":")
	return namespace, name, is && two && IsObjectName(namespace) && IsObjectName(name)
}

// IsObjectName reports whether s can be the name of a namespace or a service
// account: no such name has other characters (RFC 1123).
func IsObjectName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= maxObjectName
}

// Keys verify tokens with the keys that their issuer publishes; [jwt.Issuer] is one.
type Keys interface {
	Verify(ctx context.Context, token string, e jwt.Expect) (jwt.Claims, error)
}

// Kubernetes verifies the service accounts' tokens of one cluster.
type Kubernetes struct {
	Keys     Keys
	Issuer   string // of the cluster
	Audience string // that tokens must be for, and nobody else
	Now      func() time.Time
}

// kubernetesClaims is the claim of Kubernetes's own in its tokens.
type kubernetesClaims struct {
	Kubernetes struct {
		Namespace string `json:"namespace"`
		Account   struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"serviceaccount"`
		Pod struct {
			Name string `json:"name"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

// Verify returns the account that a projected token proves, or a fault: those of
// [jwt.Issuer.Verify], or of kind Unauthenticated for a token of the cluster that
// is not a projected one, lives for longer than [MaxForeignLife] or is meant for
// others, too.
func (k Kubernetes) Verify(ctx context.Context, token secret.Text) (Account, error) {
	claims, err := k.Keys.Verify(ctx, token.RevealString(), jwt.Expect{
		Issuer: k.Issuer, Audience: k.Audience, Types: []string{"JWT"}, Untyped: true, // Kubernetes writes no typ
		Algorithms: []string{"RS256", "ES256", "ES384", "ES512"}, Skew: jwt.MaxSkew, Now: k.Now,
	})
	if err != nil {
		return Account{}, err
	}
	if err := forUsAlone(claims, k.Now()); err != nil {
		return Account{}, err
	}
	var own kubernetesClaims
	if err := wire.DecodeForeign(claims.Raw, &own); err != nil {
		return Account{}, notProjected(err)
	}
	said := own.Kubernetes
	namespace, name, ok := ParseAccount(claims.Subject)
	if !ok || said.Namespace != namespace || said.Account.Name != name || said.Account.UID == "" {
		return Account{}, notProjected(nil)
	}
	return Account{namespace, name, said.Account.UID, said.Pod.Name}, nil
}

func notProjected(cause error) error {
	return fault.Wrap(cause, fault.Unauthenticated, "token_malformed", "the token is not one that Kubernetes projects into a pod").
		WithFix("send the token of a projected volume of kind serviceAccountToken")
}

// forUsAlone wants a foreign proof to be short-lived, and for nobody else: whoever
// else it is for could come here with it.
func forUsAlone(c jwt.Claims, now time.Time) error {
	begin := c.IssuedAt
	if begin.IsZero() { // which an SVID may leave out
		begin = now
	}
	switch {
	case len(c.Audience) != 1:
		return fault.New(fault.Unauthenticated, "token_audience", "the token is meant for others, too").WithFix("ask for one with a single audience")
	case c.ExpiresAt.Sub(begin) > MaxForeignLife:
		return fault.New(fault.Unauthenticated, "token_lifetime", "the token lives for more than %v", MaxForeignLife).
			WithFix("ask for one that lives for an hour")
	}
	return nil
}

// Post sends a JSON body to a path of an API server and returns the body of an
// answer of success.
type Post func(ctx context.Context, path string, body []byte) ([]byte, error)

// reviewPath is where API servers review tokens.
const reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"

// tokenReview is a TokenReview of authentication.k8s.io/v1, with the fields that
// are used.
type tokenReview struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type reviewStatus struct {
	Authenticated bool       `json:"authenticated"`
	User          reviewUser `json:"user"`
	Audiences     []string   `json:"audiences"`
	Error         string     `json:"error"`
}

type reviewUser struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Extra    map[string][]string `json:"extra"`
}

// Review asks an API server about a token, and returns whose it is. The API server
// knows what the token itself does not say: that its pod or its account was
// deleted. One that it does not take is a fault of kind Unauthenticated with code
// "token_reviewed"; other faults are those of post, and of kind Upstream
// (review_invalid) for an answer that is none.
func Review(ctx context.Context, post Post, token secret.Text, audience string) (Account, error) {
	body, err := json.Marshal(tokenReview{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview", Spec: reviewSpec{token.RevealString(), []string{audience}}})
	if err != nil {
		return Account{}, err
	}
	defer clear(body)
	answer, err := post(ctx, reviewPath, body)
	if err != nil {
		return Account{}, err
	}
	var reviewed tokenReview
	if err := wire.DecodeForeign(answer, &reviewed); err != nil || reviewed.Kind != "TokenReview" {
		return Account{}, fault.Wrap(err, fault.Upstream, "review_invalid", "the API server's answer is not a TokenReview")
	}
	s := reviewed.Status
	namespace, name, ok := ParseAccount(s.User.Username)
	switch {
	case !s.Authenticated:
		// What it says of the reason may quote the token.
		return Account{}, refused("the cluster does not take the token: it has expired, is for another audience, or its pod is gone")
	case !slices.Contains(s.Audiences, audience):
		// An authenticator that knows nothing of audiences leaves them out: the token was not compared with ours.
		return Account{}, refused("the cluster did not say that the token is meant for Deputy")
	case !ok:
		return Account{}, refused("the token is not a service account's")
	}
	pod := ""
	if names := s.User.Extra["authentication.kubernetes.io/pod-name"]; len(names) == 1 {
		pod = names[0]
	}
	return Account{namespace, name, s.User.UID, pod}, nil
}

func refused(why string) error {
	return fault.New(fault.Unauthenticated, "token_reviewed", "%s", why).WithFix("read the projected token again: the kubelet replaces it")
}
