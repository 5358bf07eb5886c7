package kubetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/deputy-id/deputy/internal/jwt"
)

// Issuer is the issuer of the service accounts' tokens, as of most clusters.
const Issuer = "https://kubernetes.default.svc.cluster.local"

const (
	reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"
	keysPath   = "/openid/v1/jwks"
)

// Token is what a kubelet asks the API server to make for a pod.
type Token struct {
	Namespace, Account, Pod string // no pod: it is bound to none
	Audiences               []string
	Issued                  time.Time
	Life                    time.Duration
}

// Claims returns what the API server (1.37) writes into a token. Account and pod
// must be there.
func (s *Server) Claims(t Token) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := map[string]any{"namespace": t.Namespace, "serviceaccount": map[string]any{"name": t.Account, "uid": s.uid(t.Namespace, "serviceaccounts", t.Account)}}
	if t.Pod != "" {
		own["pod"] = map[string]any{"name": t.Pod, "uid": s.uid(t.Namespace, "pods", t.Pod)}
		own["node"] = map[string]any{"name": "node-1", "uid": "uid-node-1"}
	}
	return map[string]any{
		"aud": t.Audiences, "exp": t.Issued.Add(t.Life).Unix(), "iat": t.Issued.Unix(), "nbf": t.Issued.Unix(), "iss": Issuer,
		"jti": "6f0c3a4e-8a53-4a6b-9b3b-0c5a1d7d1c11", "kubernetes.io": own, "sub": "system:serviceaccount:" + t.Namespace + ":" + t.Account,
	}
}

// Issue makes a token.
func (s *Server) Issue(t Token) string { return s.Sign(s.Claims(t)) }

// Sign signs claims as the API server does: with a kid, and without a typ.
func (s *Server) Sign(claims map[string]any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	key := s.keys[len(s.keys)-1]
	input := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"ES256","kid":%q}`, key.ID)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(input))
	r, v, err := ecdsa.Sign(rand.Reader, key.Private.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...))
}

// Rotate makes the key that signs from now on. Those before are published as long
// as keep says.
func (s *Server) Rotate(keep int) {
	key, err := jwt.Generate(jwt.ES256)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys[max(0, len(s.keys)-keep):], key)
}

// uid returns the uid of an object; "" if there is none.
func (s *Server) uid(namespace, plural, name string) string {
	o, ok := s.objects["/"+namespace+"/"+plural+"/"+name]
	if !ok {
		return ""
	}
	uid, _ := o["metadata"].(map[string]any)["uid"].(string)
	return uid
}

// tokens answers what is about tokens, and reports whether a request is.
func (s *Server) tokens(w http.ResponseWriter, r *http.Request, body []byte) bool {
	var what string
	var serve func()
	switch r.Method + " " + r.URL.Path {
	case "GET " + keysPath:
		what = "get " + keysPath
		serve = func() {
			w.Header().Set("Content-Type", "application/jwk-set+json")
			_, _ = w.Write(jwt.NewSet(s.keys...).JWKS()) // a client that went away is its own problem
		}
	case "POST " + reviewPath:
		what = "create authentication.k8s.io/tokenreviews"
		serve = func() { s.review(w, body) }
	default:
		return false
	}
	s.asked[what] = true
	if code := s.refuse[what]; code != 0 {
		s.status(w, code, "the test refuses to %s", what)
	} else {
		serve()
	}
	return true
}

// review answers a TokenReview as the API server does: with 201 and the object,
// whether it takes the token or not.
func (s *Server) review(w http.ResponseWriter, body []byte) {
	var review authenticationv1.TokenReview
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&review); err != nil || review.Kind != "TokenReview" || review.APIVersion != "authentication.k8s.io/v1" {
		s.status(w, http.StatusBadRequest, "the object provided is unrecognized: %v", err)
		return
	}
	if review.Spec.Token == "" {
		s.status(w, http.StatusBadRequest, "token is required for TokenReview in authentication")
		return
	}
	user, audiences, err := s.authenticate(review.Spec.Token, review.Spec.Audiences)
	if err != nil {
		review.Status = authenticationv1.TokenReviewStatus{Error: fmt.Sprintf("[invalid bearer token, %v]", err)}
	} else {
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: user, Audiences: audiences}
	}
	if s.NoAudiences {
		review.Status.Audiences = nil
	}
	s.answer(w, http.StatusCreated, review)
}

// authenticate judges a token, for which its account and its pod must still be
// there.
func (s *Server) authenticate(token string, wanted []string) (authenticationv1.UserInfo, []string, error) {
	claims, err := jwt.NewSet(s.keys...).Verify(token, jwt.Expect{Issuer: Issuer, Types: []string{"JWT"}, Untyped: true, Algorithms: []string{jwt.ES256}, Now: s.Now})
	if err != nil {
		return authenticationv1.UserInfo{}, nil, err
	}
	audiences := slices.DeleteFunc(slices.Clone(wanted), func(a string) bool { return !slices.Contains(claims.Audience, a) })
	if len(audiences) == 0 {
		return authenticationv1.UserInfo{}, nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", claims.Audience, wanted)
	}
	var c struct {
		ID  string `json:"jti"`
		Own struct {
			Namespace           string
			ServiceAccount, Pod struct{ Name, UID string }
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(claims.Raw, &c); err != nil {
		return authenticationv1.UserInfo{}, nil, err
	}
	o := c.Own
	if o.ServiceAccount.UID == "" || s.uid(o.Namespace, "serviceaccounts", o.ServiceAccount.Name) != o.ServiceAccount.UID {
		return authenticationv1.UserInfo{}, nil, fmt.Errorf("service account %s/%s has been deleted", o.Namespace, o.ServiceAccount.Name)
	}
	extra := map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/credential-id": {"JTI=" + c.ID}}
	if o.Pod.Name != "" {
		if s.uid(o.Namespace, "pods", o.Pod.Name) != o.Pod.UID {
			return authenticationv1.UserInfo{}, nil, fmt.Errorf("service account token has been invalidated")
		}
		extra["authentication.kubernetes.io/pod-name"], extra["authentication.kubernetes.io/pod-uid"] = authenticationv1.ExtraValue{o.Pod.Name}, authenticationv1.ExtraValue{o.Pod.UID}
	}
	return authenticationv1.UserInfo{
		Username: claims.Subject, UID: o.ServiceAccount.UID, Extra: extra,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + o.Namespace, "system:authenticated"},
	}, audiences, nil
}

// Account makes a service account, and a pod of its own, as [Server.Do] would.
func (s *Server) Account(namespace, account, pod string) {
	s.t.Helper()
	for plural, object := range map[string]string{
		"serviceaccounts": fmt.Sprintf(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q}}`, account),
		"pods":            fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"serviceAccountName":%q}}`, pod, account),
	} {
		if err := s.Do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/"+plural, "application/json", object); err != nil {
			s.t.Fatal(err)
		}
	}
}
