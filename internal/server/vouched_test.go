package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/kube/kubetest"
	"github.com/deputy-id/deputy/internal/server"
	deputy "github.com/deputy-id/deputy/sdk"
)

// outside is a Deputy whose workloads run elsewhere: on a cluster, and in a SPIFFE
// trust domain.
type outside struct {
	*world
	cluster *kubetest.Server
	bundle  atomic.Pointer[[]byte] // of the trust domain; nil: it does not answer
	domain  *httptest.Server
	svids   jwt.Key
}

const trustDomain = "spiffe://prod.example"

func newOutside(t *testing.T) *outside {
	o := &outside{cluster: kubetest.New(t)}
	o.domain = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		b := o.bundle.Load()
		if b == nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = rw.Write(*b)
	}))
	t.Cleanup(o.domain.Close)
	o.rotate(t)
	o.cluster.Account("agents", "doc", "doc-1")
	o.cluster.Account("jobs", "doc", "doc-2")
	at := func(address string) string {
		u, err := url.Parse(address)
		must(t, err)
		return u.Host
	}
	o.world = newWorld(t, func(c *server.Config) {
		c.AllowOutbound = append(c.AllowOutbound, at(o.cluster.Config().Server), at(o.domain.URL))
	})
	o.cluster.Now = o.clock.now
	o.make("/workload-pools/default/workloads", `{"name":"doc"}`, nil)
	o.make("/workload-pools/default/providers", `{"name":"weather","type":"api_key","apiKey":{"key":"k-1"}}`, nil)
	return o
}

// rotate gives the trust domain a new key.
func (o *outside) rotate(t *testing.T) {
	t.Helper()
	var err error
	o.svids, err = jwt.Generate(jwt.ES256)
	must(t, err)
	bundle := []byte(strings.ReplaceAll(string(jwt.NewSet(o.svids).JWKS()), `"sig"`, `"jwt-svid"`))
	o.bundle.Store(&bundle)
}

// attestor is the body that makes an attestor of the cluster, which reviews tokens.
func (o *outside) attestor(attestorName string, rules string) string {
	b, err := json.Marshal(map[string]any{
		"name": attestorName, "kind": "kubernetes", "issuer": kubetest.Issuer, "server": o.cluster.Config().Server, "authority": string(o.cluster.Authority()),
		"reviewerToken": o.cluster.Config().Token.RevealString(), "rules": json.RawMessage(rules),
	})
	must(o.t, err)
	return string(b)
}

func (o *outside) vouch(pool, body string) {
	o.t.Helper()
	o.make("/workload-pools/"+pool+"/attestors", body, nil)
}

// projected is a token as a kubelet has it made for a pod.
func (o *outside) projected(namespace, pod string, audiences ...string) kubetest.Token {
	if len(audiences) == 0 {
		audiences = []string{o.url}
	}
	return kubetest.Token{Namespace: namespace, Account: "doc", Pod: pod, Audiences: audiences, Issued: o.clock.now(), Life: time.Hour}
}

// svid is what the trust domain says about a workload.
func (o *outside) svid(change map[string]any) string {
	claims := map[string]any{"sub": trustDomain + "/ns/agents/sa/doc", "aud": o.url, "iat": o.clock.now().Unix(), "exp": o.clock.now().Add(5 * time.Minute).Unix()}
	for claim, v := range change {
		claims[claim] = v
	}
	token, err := jwt.Sign(o.svids, "JWT", claims)
	must(o.t, err)
	return token
}

// exchange shows a proof, and returns the workload that it is of, or the code of
// the refusal. What it gets is good for a credential.
func (o *outside) exchange(proof string) string {
	o.t.Helper()
	got := o.api("POST", "/workload-tokens", proof, `{}`)
	var answer struct{ Token, Workload, Code string }
	must(o.t, json.Unmarshal([]byte(got.body), &answer))
	if got.status != http.StatusOK {
		if (got.status != http.StatusUnauthorized && got.status != http.StatusServiceUnavailable) || answer.Token != "" {
			o.t.Errorf("%d %s", got.status, got.body)
		}
		return answer.Code
	}
	if key := o.api("POST", "/credentials", answer.Token, `{"provider":"weather"}`); key.status != http.StatusOK || !strings.Contains(key.body, "k-1") {
		o.t.Errorf("%s gets no credential: %d %s", answer.Workload, key.status, key.body)
	}
	return answer.Workload
}

const docID = "spiffe://deputy.local/default/doc"

// TestPodsOfAnotherCluster has a pod prove itself with its projected token, which
// the cluster is asked about, and everything that is not quite such a token.
func TestPodsOfAnotherCluster(t *testing.T) {
	o := newOutside(t)
	good := o.cluster.Issue(o.projected("agents", "doc-1"))
	if got := o.exchange(good); got != "proof_unknown" {
		t.Errorf("before anybody vouches: %s", got)
	}
	o.vouch("default", o.attestor("prod", `[{"subject":"agents/*","workload":"*"}]`))
	if got := o.exchange(good); got != docID {
		t.Fatalf("the pod is %s", got)
	}

	file := filepath.Join(t.TempDir(), "token") // as the kubelet writes it
	must(t, writeFile(file, good))
	sdk := &deputy.Client{URL: o.url, Workload: docID, TokenFile: file}
	for range 2 {
		wat, _, err := sdk.WorkloadToken(t.Context(), deputy.Secret{})
		if err != nil {
			t.Fatalf("with the SDK: %v", err)
		}
		if who, err := sdk.Verify(t.Context(), wat); err != nil || who.Workload != docID {
			t.Errorf("with the SDK it is %v: %v", who, err)
		}
	}

	stranger := kubetest.New(t)
	stranger.Account("agents", "doc", "doc-1")
	changed := func(change func(map[string]any)) string {
		claims := o.cluster.Claims(o.projected("agents", "doc-1"))
		change(claims)
		return o.cluster.Sign(claims)
	}
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	plainHead, err := base64.RawURLEncoding.DecodeString(head)
	must(t, err)
	var header struct{ Kid string }
	must(t, json.Unmarshal(plainHead, &header))
	mac := hmac.New(sha256.New, o.cluster.Authority())
	symmetric := b64([]byte(`{"alg":"HS256","kid":"`+header.Kid+`"}`)) + "." + body
	mac.Write([]byte(symmetric))
	for what, bad := range map[string]struct{ proof, code string }{
		"another cluster of the same name": {stranger.Issue(o.projected("agents", "doc-1")), "token_unknown_key"},
		"another audience":                 {o.cluster.Issue(o.projected("agents", "doc-1", "https://vault.example")), "token_audience"},
		"ours and another's audience":      {o.cluster.Issue(o.projected("agents", "doc-1", o.url, "https://vault.example")), "token_audience"},
		"expired":                          {changed(func(c map[string]any) { c["exp"] = o.clock.now().Add(-2 * time.Minute).Unix() }), "token_expired"},
		"of the future": {changed(func(c map[string]any) {
			c["iat"], c["nbf"] = o.clock.now().Add(10*time.Minute).Unix(), o.clock.now().Add(10*time.Minute).Unix()
		}), "token_not_yet_valid"},
		"for a year":                 {changed(func(c map[string]any) { c["exp"] = o.clock.now().AddDate(1, 0, 0).Unix() }), "token_lifetime"},
		"signed by nobody":           {b64([]byte(`{"alg":"none","kid":"`+header.Kid+`"}`)) + "." + body + ".", "token_algorithm"},
		"signed with what is public": {symmetric + "." + b64(mac.Sum(nil)), "token_algorithm"},
		"of a key in a file":         {b64([]byte(`{"alg":"ES256","kid":"../../../dev/null"}`)) + "." + rest, "token_unknown_key"},
		"of a key elsewhere":         {b64([]byte(`{"alg":"ES256","kid":"x","jku":"`+o.domain.URL+`"}`)) + "." + rest, "token_unknown_key"},
		"of another account's pod":   {changed(func(c map[string]any) { c["sub"] = "system:serviceaccount:agents:mail" }), "token_malformed"},
		"too long":                   {changed(func(c map[string]any) { c["padding"] = strings.Repeat("x", 20<<10) }), "proof_unknown"},
		"of a namespace of others":   {o.cluster.Issue(o.projected("jobs", "doc-2")), "proof_unmapped"},
	} {
		if got := o.exchange(bad.proof); got != bad.code {
			t.Errorf("%s: %s, want %s", what, got, bad.code)
		}
	}
	// Strangers' attempts are no entries; a good proof of nobody is one.
	if got := o.entries(url.Values{"action": {"attestor.vouch"}}); len(got) != 1 || got[0].Reason != "proof_unmapped" || got[0].Detail["subject"] != "jobs/doc" {
		t.Errorf("the audit log has %+v", got)
	}

	must(t, o.cluster.Do(http.MethodDelete, "/api/v1/namespaces/agents/pods/doc-1", "application/json", `{}`))
	if got := o.exchange(good); got != "token_reviewed" {
		t.Errorf("of a pod that is gone: %s", got)
	}
}

// TestClusterThroughTheYears rotates the cluster's keys, has it fail, changes
// what Deputy knows of it, and ends that.
func TestClusterThroughTheYears(t *testing.T) {
	o := newOutside(t)
	o.vouch("default", o.attestor("prod", `[{"subject":"agents/doc","workload":"doc"}]`))
	pod := func() string { return o.cluster.Issue(o.projected("agents", "doc-1")) }
	before := pod()
	if got := o.exchange(before); got != docID {
		t.Fatalf("the pod is %s", got)
	}
	o.cluster.Rotate(1)
	o.clock.pass(time.Minute) // unknown keys are asked for now and then
	for what, proof := range map[string]string{"the new key": pod(), "the key before": before} {
		if got := o.exchange(proof); got != docID {
			t.Errorf("%s: %s", what, got)
		}
	}
	o.cluster.Refuse("get /openid/v1/jwks", http.StatusInternalServerError)
	o.clock.pass(time.Hour)
	if got := o.exchange(pod()); got != docID {
		t.Errorf("while the keys cannot be fetched: %s", got)
	}
	o.cluster.Refuse("create authentication.k8s.io/tokenreviews", http.StatusForbidden)
	if got := o.exchange(pod()); got != "reviewer_denied" {
		t.Errorf("while nothing is reviewed: %s", got)
	}
	o.cluster.Refuse("create authentication.k8s.io/tokenreviews", 0)
	o.cluster.Refuse("get /openid/v1/jwks", 0)

	// The reviewer's token is sent to no other server than it was given for.
	const at = "/workload-pools/default/attestors/prod"
	thief := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s was sent %d bytes of a token", r.URL, len(r.Header.Get("Authorization")))
		}
	}))
	defer thief.Close()
	change := map[string]any{"kind": "kubernetes", "issuer": kubetest.Issuer, "server": thief.URL, "authority": string(o.cluster.Authority()), "rules": []map[string]string{{"subject": "agents/doc", "workload": "doc"}}}
	put := func() answer {
		b, err := json.Marshal(change)
		must(t, err)
		return o.api("PUT", at, o.operator, string(b))
	}
	if got := put(); got.status/100 == 2 {
		t.Errorf("another server without a token of its own: %s", got.body)
	}
	change["server"] = o.cluster.Config().Server
	change["rules"] = []map[string]string{{"subject": "jobs/doc", "workload": "doc"}}
	if got := put(); got.status != http.StatusOK || strings.Contains(got.body, o.cluster.Config().Token.RevealString()) {
		t.Errorf("another rule: %d %s", got.status, got.body)
	}
	if got := o.exchange(pod()); got != "proof_unmapped" {
		t.Errorf("of whom the rules were: %s", got)
	}
	if got := o.exchange(o.cluster.Issue(o.projected("jobs", "doc-2"))); got != docID {
		t.Errorf("of whom they are: %s", got)
	}
	if got := o.api("DELETE", at, o.operator, ""); got.status != http.StatusNoContent {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := o.exchange(pod()); got != "proof_unknown" {
		t.Errorf("when nobody vouches any more: %s", got)
	}
	if strings.Contains(o.log.String(), o.cluster.Config().Token.RevealString()) {
		t.Error("the reviewer's token is in the log")
	}
}

// TestProofOfTwo maps one account in two pools: nobody can say which of the two it
// means.
func TestProofOfTwo(t *testing.T) {
	o := newOutside(t)
	o.make("/workload-pools", `{"name":"other"}`, nil)
	o.make("/workload-pools/other/workloads", `{"name":"doc"}`, nil)
	o.make("/workload-pools/other/providers", `{"name":"weather","type":"api_key","apiKey":{"key":"k-1"}}`, nil)
	o.vouch("default", o.attestor("prod", `[{"subject":"agents/doc","workload":"doc"}]`))
	proof := o.cluster.Issue(o.projected("agents", "doc-1"))
	o.vouch("other", o.attestor("prod", `[{"subject":"*/doc","workload":"doc"}]`))
	if got := o.exchange(proof); got != "proof_ambiguous" {
		t.Errorf("it is %s", got)
	}
	if got := o.entries(url.Values{"action": {"attestor.vouch"}}); len(got) != 1 || got[0].Reason != "proof_ambiguous" || !strings.Contains(got[0].Detail["workloads"], "default/doc") {
		t.Errorf("the audit log has %+v", got)
	}
	if got := o.exchange(o.cluster.Issue(o.projected("jobs", "doc-2"))); got != "spiffe://deputy.local/other/doc" {
		t.Errorf("that of one is %s", got)
	}
}

// TestSVIDsOfATrustDomain has a workload prove itself with a JWT-SVID.
func TestSVIDsOfATrustDomain(t *testing.T) {
	o := newOutside(t)
	o.vouch("default", fmt.Sprintf(`{"name":"prod","kind":"spiffe","issuer":%q,"bundleUrl":%q,"rules":[{"subject":"/ns/agents/sa/*","workload":"*"}]}`, trustDomain, o.domain.URL+"/bundle"))
	if got := o.exchange(o.svid(nil)); got != docID {
		t.Fatalf("the workload is %s", got)
	}
	before := o.svid(nil)
	o.rotate(t)
	o.clock.pass(time.Minute)
	if got := o.exchange(o.svid(nil)); got != docID { // which has the new bundle fetched
		t.Errorf("the new key: %s", got)
	}
	for what, want := range map[string]struct{ proof, is string }{
		"the key before":               {before, "token_unknown_key"},
		"another audience":             {o.svid(map[string]any{"aud": "spiffe://prod.example/vault"}), "token_audience"},
		"another trust domain":         {o.svid(map[string]any{"sub": "spiffe://dev.example/ns/agents/sa/doc"}), "proof_unknown"},
		"nobody's":                     {o.svid(map[string]any{"sub": trustDomain}), "proof_unknown"},
		"of a path that is longer":     {o.svid(map[string]any{"sub": trustDomain + "/ns/agents/sa/doc/x"}), "proof_unmapped"},
		"of what can be no workload":   {o.svid(map[string]any{"sub": trustDomain + "/ns/agents/sa/..."}), "proof_unmapped"},
		"of no workload that there is": {o.svid(map[string]any{"sub": trustDomain + "/ns/agents/sa/nobody"}), "workload_gone"},
	} {
		if got := o.exchange(want.proof); got != want.is {
			t.Errorf("%s: %s, want %s", what, got, want.is)
		}
	}
	o.bundle.Store(nil)
	o.clock.pass(time.Hour)
	if got := o.exchange(o.svid(nil)); got != docID {
		t.Errorf("while the trust domain does not answer: %s", got)
	}
}

// TestVouchersThatAreNone is what operators type.
func TestVouchersThatAreNone(t *testing.T) {
	o := newOutside(t)
	const rules = `[{"subject":"agents/doc","workload":"doc"}]`
	const paths = `[{"subject":"/ns/agents/sa/doc","workload":"doc"}]`
	good := o.attestor("prod", rules)
	for what, bad := range map[string]struct {
		body, code, source string
	}{
		"no kind":                  {strings.Replace(good, `"kind":"kubernetes"`, `"kind":""`, 1), "attestor_invalid", "kind"},
		"another kind":             {strings.Replace(good, `"kind":"kubernetes"`, `"kind":"vm"`, 1), "attestor_invalid", "kind"},
		"no name":                  {strings.Replace(good, `"name":"prod"`, `"name":"-"`, 1), "name_invalid", ""},
		"no rules":                 {o.attestor("prod", `[]`), "rule_invalid", "rules"},
		"a path for a cluster":     {o.attestor("prod", paths), "rule_invalid", "rules"},
		"too many stars":           {o.attestor("prod", `[{"subject":"*/*","workload":"*"}]`), "rule_invalid", "rules"},
		"rules about one":          {o.attestor("prod", `[{"subject":"agents/*","workload":"*"},{"subject":"*/doc","workload":"doc"}]`), "rules_overlap", "rules"},
		"no workload's name":       {o.attestor("prod", `[{"subject":"agents/doc","workload":"a b"}]`), "name_invalid", "rules"},
		"no certificate":           {strings.Replace(good, "BEGIN CERTIFICATE", "BEGIN NOTHING", 1), "attestor_invalid", "authority"},
		"keys twice":               {strings.Replace(good, `"server"`, `"keysUrl":"https://keys.example/jwks","server"`, 1), "attestor_invalid", "keysUrl"},
		"a file":                   {strings.Replace(good, o.cluster.Config().Server, "file:///etc/passwd", 1), "attestor_invalid", "server"},
		"a reviewer who may not":   {strings.Replace(good, o.cluster.Config().Token.RevealString(), "wrong", 1), "reviewer_denied", "server"},
		"a domain without keys":    {`{"name":"prod","kind":"spiffe","issuer":"` + trustDomain + `","rules":` + paths + `}`, "attestor_invalid", ""},
		"a domain that is none":    {`{"name":"prod","kind":"spiffe","issuer":"https://prod.example","bundleUrl":"` + o.domain.URL + `","rules":` + paths + `}`, "attestor_invalid", "issuer"},
		"a bundle that is a page":  {`{"name":"prod","kind":"spiffe","issuer":"` + trustDomain + `","bundleUrl":"` + o.party.URL + `","rules":` + paths + `}`, "", "bundleUrl"},
		"an address of our own":    {`{"name":"prod","kind":"spiffe","issuer":"` + trustDomain + `","bundleUrl":"http://127.0.0.1:1/bundle","rules":` + paths + `}`, "", "bundleUrl"},
		"a field that is unknown":  {strings.Replace(good, `"kind"`, `"sort":"x","kind"`, 1), "json_unknown_field", ""},
		"a bundle for a cluster":   {strings.Replace(good, `"server"`, `"bundleUrl":"https://keys.example/jwks","server"`, 1), "attestor_invalid", "bundleUrl"},
		"an audience of two words": {strings.Replace(good, `"kind"`, `"audience":"a b","kind"`, 1), "attestor_invalid", "audience"},
	} {
		got := o.api("POST", "/workload-pools/default/attestors", o.operator, bad.body)
		var problem struct{ Code, Source, Fix string }
		must(t, json.Unmarshal([]byte(got.body), &problem))
		if got.status/100 == 2 || bad.code != "" && problem.Code != bad.code || bad.source != "" && problem.Source != bad.source {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		if strings.Contains(got.body, o.cluster.Config().Token.RevealString()) {
			t.Errorf("%s: the token is in the answer", what)
		}
	}
	if got := o.api("GET", "/workload-pools/default/attestors", o.operator, ""); strings.Contains(got.body, "prod") {
		t.Errorf("something was saved: %s", got.body)
	}
	o.vouch("default", good)
	if got := o.api("POST", "/workload-pools/default/attestors", o.operator, good); got.status != http.StatusConflict {
		t.Errorf("the same again: %d %s", got.status, got.body)
	}
}
