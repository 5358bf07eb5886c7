package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/kms/kmstest"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
)

// restarting is a world that can be started anew with other settings.
type restarting struct {
	*world
	config server.Config
	behind *atomic.Pointer[url.URL]
	made   atomic.Int64 // providers
}

func newRestarting(t *testing.T, change func(*server.Config)) *restarting {
	t.Helper()
	r := &restarting{behind: &atomic.Pointer[url.URL]{}}
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(r.behind.Load()) }})
	t.Cleanup(front.Close)
	r.world = newReplicated(t, func(c *server.Config) {
		c.PublicURL = front.URL
		r.config = *c
		change(c)
	}, r.behind)
	return r
}

// restart starts it with the settings of the first start and a change of them.
func (r *restarting) restart(change func(*server.Config)) {
	r.t.Helper()
	r.stop()
	c := r.config
	change(&c)
	r.replica = start(r.t, c)
	direct, err := url.Parse(r.direct)
	must(r.t, err)
	r.behind.Store(direct)
}

// twoPools makes the pools p and q, each with a provider and so with a data key.
func (r *restarting) twoPools() {
	r.t.Helper()
	for _, pool := range []string{"p", "q"} {
		r.make("/workload-pools", fmt.Sprintf(`{"name":%q}`, pool), nil)
		r.make("/workload-pools/"+pool+"/providers", r.provider("feishu", readDoc), nil)
	}
}

// busy fetches credentials and has records made until the
// returned function is called, which tells how often.
func (r *restarting) busy(token string) (stop func() int) {
	var group sync.WaitGroup
	done := make(chan struct{})
	var served atomic.Int64
	ran := make(chan struct{}, 1000)
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := r.api("POST", "/credentials", token, `{"provider":"feishu_oauth"}`); got.status != http.StatusOK || !strings.Contains(got.body, `"ready"`) {
					r.t.Errorf("a credential: %d %s", got.status, got.body)
				}
				if got := r.api("POST", "/workload-pools/default/providers", r.operator, r.provider(fmt.Sprintf("p%d", r.made.Add(1)), readDoc)); got.status != http.StatusCreated {
					r.t.Errorf("a record: %d %s", got.status, got.body)
				}
				served.Add(1)
				select {
				case ran <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 4 {
		<-ran // the change comes in the midst
	}
	return func() int {
		close(done)
		group.Wait()
		return int(served.Load())
	}
}

// rewrap changes the root key by requests, and returns how many data keys were wrapped anew.
func (r *restarting) rewrap() int {
	r.t.Helper()
	for total := 0; ; {
		got := r.api("POST", "/data-keys/rewrap", r.operator, "")
		var step struct{ Rewrapped, Remaining int }
		if err := json.Unmarshal([]byte(got.body), &step); err != nil || got.status != http.StatusOK {
			r.t.Fatalf("rewrap: %d %s", got.status, got.body)
		}
		total += step.Rewrapped
		if step.Remaining == 0 {
			return total
		}
	}
}

// roots returns how many data keys each root key wraps, and how many of them
// need another one than the service's.
func (r *restarting) roots() (by map[string]int, former int) {
	r.t.Helper()
	var list struct {
		Items []struct {
			Root       string
			FormerRoot bool
		}
	}
	must(r.t, json.Unmarshal([]byte(r.api("GET", "/data-keys", r.operator, "").body), &list))
	by = map[string]int{}
	for _, k := range list.Items {
		by[k.Root]++
		if k.FormerRoot {
			former++
		}
	}
	return by, former
}

// TestTheRootKeyMovesToVaultAndBack changes the root key while requests run:
// from the file to Vault, to the next version there, and back to the file.
func TestTheRootKeyMovesToVaultAndBack(t *testing.T) {
	v := kmstest.StartVault(t)
	w := newRestarting(t, func(*server.Config) {})
	token := w.wat("a", "zhangsan")
	w.person("zhangsan").logIn().authorize(w.link(token).URL)
	w.twoPools()
	file, tokenFile := filepath.Join(w.dir, "root.key"), filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(tokenFile, []byte(v.TokenFor("encrypt", "decrypt")), 0o600))
	location := v.Location() + "?token-file=" + tokenFile
	id := "transit:" + v.Host + "/transit/keys/deputy"
	works := func(when string) {
		t.Helper()
		if got := w.ask(token, "feishu_oauth"); got.Status != "ready" || w.owner(got.Credential.AccessToken) != "zhangsan" {
			t.Errorf("%s: %s", when, got.Status)
		}
	}
	change := func(what string, settings func(*server.Config), want string) {
		t.Helper()
		w.restart(settings)
		if _, former := w.roots(); former == 0 {
			t.Errorf("%s: no data key needs the former root key", what)
		}
		stop := w.busy(token)
		n := w.rewrap()
		served := stop()
		by, former := w.roots()
		if n < 3 || former != 0 || len(by) != 1 || by[want] != n || served == 0 {
			t.Errorf("%s: %d data keys wrapped anew; they are wrapped by %v, %d by the former; %d requests", what, n, by, former, served)
		}
		if again := w.rewrap(); again != 0 {
			t.Errorf("%s: %d data keys wrapped once more", what, again)
		}
		works(what)
	}

	change("to Vault", func(c *server.Config) { c.RootKMS, c.FormerRootKeyFile = location, file }, id+"#1")
	w.restart(func(c *server.Config) { c.RootKMS = location })
	works("with Vault alone")
	v.Rotate()
	if n := w.rewrap(); n < 3 {
		t.Errorf("to the next version: %d data keys", n)
	}
	if by, former := w.roots(); by[id+"#2"] == 0 || len(by) != 1 || former != 0 {
		t.Errorf("to the next version: %v", by)
	}
	v.Require(2)
	w.restart(func(c *server.Config) { c.RootKMS = location })
	works("with the next version alone")
	plain, err := keys.ReadRootFile(file)
	must(t, err)
	local, err := keys.NewLocal(plain)
	must(t, err)
	change("to the file", func(c *server.Config) { c.FormerRootKMS = location }, local.ID())
	v.Stop()
	w.restart(func(*server.Config) {})
	works("with the file alone")
	if got := w.api("GET", "/audit/verify", w.operator, ""); !strings.Contains(got.body, `"ok":true`) {
		t.Errorf("the audit chain: %s", got.body)
	}
}

// TestVaultIsSealed is at start a clear message, and while Deputy runs nothing
// but for pools that have no data key yet.
func TestVaultIsSealed(t *testing.T) {
	v := kmstest.StartVault(t)
	kms := func(c *server.Config) { c.RootKMS, c.VaultToken = v.Location(), secret.FromString(v.Token) }
	w := newRestarting(t, kms)
	ring := w.api("GET", "/data-keys", w.operator, "")
	if !strings.Contains(ring.body, "transit:") {
		t.Fatalf("the data keys: %s", ring.body)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "root.key")); !os.IsNotExist(err) {
		t.Errorf("a root key file was made: %v", err)
	}
	v.Seal()
	w.make("/workload-pools/default/providers", w.provider("sealed_meanwhile", readDoc), nil)
	w.clock.pass(keys.DataKeyRetention) // long after it has looked for others' data keys
	w.make("/workload-pools/default/providers", w.provider("sealed_later", readDoc), nil)
	w.make("/workload-pools", `{"name":"fresh"}`, nil)
	if got := w.api("POST", "/workload-pools/fresh/providers", w.operator, w.provider("x", readDoc)); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "root_key_sealed") {
		t.Errorf("a pool without a data key: %d %s", got.status, got.body)
	}
	v.Unseal()
	w.make("/workload-pools/fresh/providers", w.provider("x", readDoc), nil)
	w.stop()

	c := w.config
	kms(&c)
	refused := func(what, code string, change func(*server.Config)) {
		t.Helper()
		c := c
		change(&c)
		if f := fault.As(built(t, c)); f == nil || f.Code != code || f.Fix == "" || strings.Contains(f.Error(), v.Token) {
			t.Errorf("%s: %v, want %s", what, f, code)
		}
	}
	refused("two root keys", "root_key_twice", func(c *server.Config) { c.RootKey = rootKey('r') })
	refused("two former root keys", "root_key_twice", func(c *server.Config) { c.FormerRootKMS, c.FormerRootKey = c.RootKMS, rootKey('r') })
	refused("no token", "root_kms_token_missing", func(c *server.Config) { c.VaultToken = secret.Text{} })
	refused("no location", "root_kms_invalid", func(c *server.Config) { c.RootKMS = "vault://" })
	refused("another root key", "root_key_wrong", func(c *server.Config) { c.RootKMS, c.RootKey = "", rootKey('r') })
	refused("denied", "root_key_denied", func(c *server.Config) { c.VaultToken = secret.FromString(v.TokenFor("encrypt")) })
	v.NewKey("other", "aes256-gcm96")
	refused("another key of Vault's", "root_key_wrong", func(c *server.Config) { c.RootKMS = strings.Replace(c.RootKMS, "/deputy", "/other", 1) })
	v.Seal()
	refused("sealed", "root_key_sealed", func(*server.Config) {})
	v.Unseal()
	must(t, built(t, c))
	v.Stop()
	refused("gone", "root_key_unreachable", func(*server.Config) {})

	// Nothing is written to a new store before it is known that its root key unwraps what it wraps.
	one := kmstest.StartVault(t)
	fresh := server.Config{Data: servertest.DataDir(t), RootKMS: one.Location(), VaultToken: secret.FromString(one.TokenFor("encrypt"))}
	if err := built(t, fresh); !fault.HasCode(err, "root_key_denied") {
		t.Errorf("a token that may encrypt only: %v", err)
	}
	must(t, built(t, server.Config{Data: fresh.Data}))
}

// TestABrokenRecordIsNamed alters a record of one pool. Operators are told which
// one it is, and that pool's former data key is kept; other pools' end.
func TestABrokenRecordIsNamed(t *testing.T) {
	w := newRestarting(t, func(*server.Config) {})
	w.twoPools()
	db := w.sqlite()
	var id string
	var sealed []byte
	must(t, db.QueryRowContext(t.Context(), `SELECT id, sealed_secret FROM providers WHERE pool = 'p'`).Scan(&id, &sealed))
	sealed[len(sealed)-1] ^= 1
	_, err := db.ExecContext(t.Context(), `UPDATE providers SET sealed_secret = $1 WHERE id = $2`, sealed, id)
	must(t, err)
	must(t, db.Close())
	w.api("POST", "/data-keys", w.operator, "")
	got := w.api("POST", "/data-keys/reseal", w.operator, "")
	var step struct {
		Remaining int
		Broken    []struct{ In, Pool, Record string }
	}
	if err := json.Unmarshal([]byte(got.body), &step); err != nil || got.status != http.StatusOK {
		t.Fatalf("reseal: %d %s", got.status, got.body)
	}
	if step.Remaining != 1 || len(step.Broken) != 1 || step.Broken[0].In != "providers.sealed_secret" || step.Broken[0].Pool != "p" || step.Broken[0].Record != id {
		t.Errorf("reseal: %s", got.body)
	}
	w.clock.pass(keys.DataKeyRetention)
	w.restart(func(*server.Config) {})
	removed := func() []string {
		var pools []string
		for _, e := range w.entries(url.Values{"action": {string(keys.ActionRemoveDataKey)}}) {
			pools = append(pools, e.Resource.Pool)
		}
		return pools
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(20 * time.Second)
	for len(removed()) < 2 { // default's and q's, by the keeper, which goes by the pools' names
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("removed are the former data keys of %v", removed())
		}
	}
	if slices.Contains(removed(), "p") {
		t.Error("the former data key of the broken record was removed")
	}
	if log := w.log.String(); !strings.Contains(log, `"in":"providers.sealed_secret","pool":"p","record":"`+id+`"`) {
		t.Error("the log does not name the record")
	}
}
