package obtain_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/volcengine/volc-sdk-golang/base"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// TestTheEmulatorTakesWhatOfficialSignersSign, so that it is a measure for ours.
func TestTheEmulatorTakesWhatOfficialSignersSign(t *testing.T) {
	c := newCloud(t, time.Now)
	const form = "Action=AssumeRole&DurationSeconds=900&RoleSessionName=x"
	volcengine, err := http.NewRequestWithContext(t.Context(), "GET", c.URL+"/?"+form, nil)
	must(t, err)
	base.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret, Service: "sts", Region: "cn-north-1"}.Sign(volcengine)
	amazon, err := http.NewRequestWithContext(t.Context(), "POST", c.URL+"/", strings.NewReader(form))
	must(t, err)
	hash := sha256.Sum256([]byte(form))
	must(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, amazon, hex.EncodeToString(hash[:]), "sts", "us-east-1", time.Now()))
	for what, r := range map[string]*http.Request{"Volcengine": volcengine, "AWS": amazon} {
		for _, want := range []int{http.StatusOK, http.StatusForbidden} {
			resp, err := c.Client().Transport.RoundTrip(r)
			must(t, err)
			must(t, resp.Body.Close())
			if resp.StatusCode != want {
				t.Errorf("%s: %d, want %d", what, resp.StatusCode, want)
			}
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
			if r.GetBody != nil {
				r.Body, err = r.GetBody()
				must(t, err)
			}
		}
	}
}

func TestTemporaryKeys(t *testing.T) {
	w := newWorld(t)
	for cloud, role := range map[provider.Cloud]string{
		provider.Volcengine: "trn:sts::2100000001:assumed-role/agent/doc@default",
		provider.AWS:        "arn:aws:sts::123456789012:assumed-role/agent/doc@default",
	} {
		p := w.sts(cloud, func(s *provider.STS) {
			s.Region, s.Lifetime = "cn-beijing", 15*time.Minute
			s.Policies = map[string]json.RawMessage{"doc": json.RawMessage(`{"Statement":[{"Effect":"Allow"}]}`)}
			s.Policy = json.RawMessage(`{"Statement":[]}`)
			if cloud == provider.AWS {
				s.ExternalID = "deputy-1"
			}
		})
		got, err := w.ask(t.Context(), "doc", name.User{}, p, false)
		must(t, err)
		k := got.Keys
		if got.Type != provider.TypeSTS || k.Cloud != cloud || k.Region != "cn-beijing" || k.Role != role || !got.Expires.Equal(w.now().Add(15*time.Minute)) ||
			!strings.HasPrefix(k.AccessKeyID, "AK-") || k.Secret.RevealString() != "SK"+k.AccessKeyID[2:] || k.Session.RevealString() != "ST"+k.AccessKeyID[2:] {
			t.Errorf("%s: %+v", cloud, got)
		}
		q := w.cloud.last()
		if q.Get("Action") != "AssumeRole" || q.Get("RoleTrn")+q.Get("RoleArn") != roles[cloud] || q.Get("Policy") != `{"Statement":[{"Effect":"Allow"}]}` ||
			q.Get("RoleSessionName") != "doc@default" || q.Get("DurationSeconds") != "900" || (cloud == provider.AWS) != (q.Get("ExternalId") == "deputy-1") {
			t.Errorf("%s was asked %v", cloud, q)
		}
		_, err = w.ask(t.Context(), "other", zhang, p, false)
		must(t, err)
		if q := w.cloud.last(); q.Get("Policy") != `{"Statement":[]}` || !strings.HasPrefix(q.Get("RoleSessionName"), "other@default@usr_zhang-") {
			t.Errorf("%s was asked %v", cloud, q)
		}
		if d := fmt.Sprint(got.Detail()); strings.Contains(d, "SK-") || strings.Contains(d, "ST-") || !strings.Contains(d, k.AccessKeyID) || !strings.Contains(d, role) {
			t.Errorf("the audit log would say %s", d)
		}
	}
}

// TestWithoutAPolicy: where some workloads have policies and there is none for
// the others, the others get nothing rather than all.
func TestWithoutAPolicy(t *testing.T) {
	w := newWorld(t)
	p := w.sts(provider.AWS, func(s *provider.STS) {
		s.Policies = map[string]json.RawMessage{"doc": json.RawMessage(`{"Statement":[{}]}`)}
	})
	if _, err := w.ask(t.Context(), "other", name.User{}, p, false); !fault.HasCode(err, "workload_not_allowed") {
		t.Errorf("got %v", err)
	}
	if n := w.cloud.calls.Load(); n != 0 {
		t.Errorf("the cloud was asked %d times", n)
	}
}

// TestKeysAreKept until shortly before they end, for whom they are.
func TestKeysAreKept(t *testing.T) {
	w := newWorld(t)
	p := w.sts(provider.Volcengine, nil)
	ask := func(want int64, what, workload string, u name.User, force bool) provider.Credential {
		t.Helper()
		got, err := w.ask(t.Context(), workload, u, p, force)
		must(t, err)
		if n := w.cloud.calls.Load(); n != want {
			t.Errorf("%s: the cloud was asked %d times, want %d", what, n, want)
		}
		return got
	}
	first := ask(1, "at first", "doc", name.User{}, false)
	first.Clear()
	if again := ask(1, "again", "doc", name.User{}, false); again.Keys.Secret.RevealString() != "SK-1" {
		t.Errorf("one caller cleared another's: %q", again.Keys.Secret.RevealString())
	}
	ask(2, "for a user", "doc", zhang, false)
	ask(3, "for him at another issuer", "doc", name.User{Issuer: "https://other.example", Subject: zhang.Subject}, false)
	ask(4, "another workload", "other", name.User{}, false)
	ask(4, "by force, at once", "doc", name.User{}, true)
	w.later(11 * time.Second)
	ask(5, "by force, later", "doc", name.User{}, true)
	w.later(53 * time.Minute)
	ask(5, "before the margin", "doc", name.User{}, false)
	w.later(2 * time.Minute)
	ask(6, "in the margin", "doc", name.User{}, false)
	v, err := w.providers.Store.Provider(t.Context(), "default", p)
	must(t, err)
	_, err = w.providers.Update(t.Context(), root, "default", p, provider.Settings{ClientID: keyID, Options: v.Options})
	must(t, err)
	ask(7, "after a change of the provider", "doc", name.User{}, false)
	must(t, w.providers.Delete(t.Context(), root, "default", p))
	if _, err := w.ask(t.Context(), "doc", name.User{}, p, false); !fault.HasCode(err, "provider_not_found") {
		t.Errorf("a deleted provider: %v", err)
	}
}

// TestManyCallersAskOnce, and one who gives up does not take the others along.
func TestManyCallersAskOnce(t *testing.T) {
	w := newWorld(t)
	p := w.sts(provider.AWS, nil)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	w.cloud.instead(func(http.ResponseWriter, reqsign.Scheme) bool {
		close(arrived)
		<-proceed
		return false
	})
	impatient, giveUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := w.ask(impatient, "doc", name.User{}, p, false)
		gone <- err
	}()
	<-arrived
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			got, err := w.ask(t.Context(), "doc", name.User{}, p, false)
			if err != nil || got.Keys.AccessKeyID != "AK-1" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	giveUp()
	if err := <-gone; !fault.HasCode(err, "credential_slow") || !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(proceed)
	all.Wait()
	if n := w.cloud.calls.Load(); n != 1 {
		t.Errorf("the cloud was asked %d times", n)
	}
}

// TestRefusals are explained in both languages, and are not kept.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		status        int
		code, message string
		class         vendor.Class
		en, zh        string
	}{
		{403, "NoPermission", "sts:AssumeRole", vendor.ClassConfig, "does not let the access key assume the role", "信任策略"},
		{403, "AccessDenied", "User is not authorized", vendor.ClassConfig, "trust policy", "不允许该访问密钥扮演角色"},
		{403, "SignatureDoesNotMatch", "The request signature we calculated", vendor.ClassConfig, "the secret access key is not", "不匹配"},
		{403, "SignatureDoesNotMatch", "Signature expired: 20261122T200000Z is now earlier than", vendor.ClassConfig, "clocks", "时钟"},
		{400, "InvalidTimestamp", "", vendor.ClassConfig, "NTP", "NTP"},
		{401, "InvalidAccessKey", "", vendor.ClassConfig, "does not know the access key", "不认识该访问密钥"},
		{403, "InvalidClientTokenId", "The security token included in the request is invalid", vendor.ClassConfig, "does not know the access key", "已启用"},
		{404, "NoSuchEntity", "", vendor.ClassConfig, "there is no role", "不存在"},
		{400, "MalformedPolicyDocument", "", vendor.ClassConfig, "session policy", "会话策略"},
		{400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration", vendor.ClassConfig, "maximum session duration", "有效期"},
		{200, "NoPermission", "an error in a 200", vendor.ClassConfig, "does not let", "不允许"},
		{429, "AccessDenied", "overloaded, whatever the body says", vendor.ClassRetry, "no clear answer", "稍后重试"},
		{500, "InternalError", "", vendor.ClassRetry, "no clear answer", "稍后重试"},
		{400, "Unheard of <b>", "", vendor.ClassRetry, "no clear answer", "稍后重试"},
	} {
		w.cloud.instead(func(rw http.ResponseWriter, s reqsign.Scheme) bool {
			w.cloud.refuse(rw, s, c.status, strings.NewReplacer("<", "&lt;").Replace(c.code), c.message)
			return true
		})
		for cloud := range roles {
			p := w.sts(cloud, nil)
			_, err := w.ask(t.Context(), "doc", name.User{}, p, false)
			var f *vendor.Failure
			if !fault.HasCode(err, "vendor_"+string(c.class)) || !errors.As(err, &f) {
				t.Errorf("%s %d %s: %v", cloud, c.status, c.code, err)
				continue
			}
			if !strings.Contains(f.Explanation+f.Fix, c.en) || !strings.Contains(f.ExplanationZH+f.FixZH, c.zh) || strings.Contains(fmt.Sprint(f), "{") || strings.Contains(f.VendorCode, "<") {
				t.Errorf("%s %s: %+v", cloud, c.code, f)
			}
		}
	}
	p := w.sts(provider.Volcengine, nil)
	if _, err := w.ask(t.Context(), "doc", name.User{}, p, false); err == nil {
		t.Error("a refusal gave keys")
	}
	w.cloud.instead(nil)
	if _, err := w.ask(t.Context(), "doc", name.User{}, p, false); err != nil {
		t.Errorf("a refusal is kept: %v", err)
	}
}

// TestAnswersThatAreNone give no keys.
func TestAnswersThatAreNone(t *testing.T) {
	w := newWorld(t)
	for what, answer := range map[string]func(rw http.ResponseWriter, s reqsign.Scheme){
		"nothing":  func(http.ResponseWriter, reqsign.Scheme) {},
		"a page":   func(rw http.ResponseWriter, _ reqsign.Scheme) { fmt.Fprint(rw, "<html><body>busy</body></html>") },
		"too much": func(rw http.ResponseWriter, _ reqsign.Scheme) { fmt.Fprint(rw, strings.Repeat(" ", 64<<10+1)) },
		"a redirect": func(rw http.ResponseWriter, _ reqsign.Scheme) {
			rw.Header().Set("Location", "https://evil.example")
			rw.WriteHeader(302)
		},
		"expired keys": func(rw http.ResponseWriter, s reqsign.Scheme) { w.cloud.give(rw, s, 1, w.now(), "x") },
		"a document type": func(rw http.ResponseWriter, s reqsign.Scheme) {
			fmt.Fprint(rw, `<!DOCTYPE x [<!ENTITY a "b">]>`)
			w.cloud.give(rw, reqsign.AWS, 1, w.now().Add(time.Hour), "x")
		},
	} {
		w.cloud.instead(func(rw http.ResponseWriter, s reqsign.Scheme) bool { answer(rw, s); return true })
		for cloud := range roles {
			if got, err := w.ask(t.Context(), "doc", name.User{}, w.sts(cloud, nil), false); err == nil || !got.Keys.Secret.Empty() {
				t.Errorf("%s from %s gave %+v", what, cloud, got)
			}
		}
	}
}

// TestWhatOperatorsGave comes back as they gave it.
func TestWhatOperatorsGave(t *testing.T) {
	w := newWorld(t)
	for providerName, s := range map[string]provider.Settings{
		"key":   {Type: provider.TypeAPIKey, ClientSecret: secret.FromString("k-1"), Options: provider.Options{Header: "X-Api-Key"}},
		"login": {Type: provider.TypeBasic, ClientID: "bot", ClientSecret: secret.FromString("p:w")},
	} {
		_, err := w.providers.Create(t.Context(), root, "default", providerName, s)
		must(t, err)
	}
	key, err := w.ask(t.Context(), "doc", name.User{}, "key", false)
	if must(t, err); key.Key.Value.RevealString() != "k-1" || key.Key.Header != "X-Api-Key" || key.Key.Prefix != "" {
		t.Errorf("got %+v", key)
	}
	login, err := w.ask(t.Context(), "doc", zhang, "login", false)
	if must(t, err); login.Login.User != "bot" || login.Login.Password.RevealString() != "p:w" {
		t.Errorf("got %+v", login)
	}
}
