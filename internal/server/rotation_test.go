package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/kube/kubetest"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// everything is a world with a sealed record of every kind that there is.
type everything struct {
	*world
	pending authorization
	tried   tried
	seed    secret.Text // of zhangsan's authenticator app
	factors func() *factor.Registry
}

func newEverything(t *testing.T) everything {
	t.Helper()
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/device":
			_, _ = io.WriteString(rw, `{"device_code":"dc_1","user_code":"WDJB-MJHT","verification_uri":"https://party.example/device","expires_in":600}`)
		case "/revoke":
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			rw.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(hook.Close)
	cluster := kubetest.New(t)
	w := newWorld(t, func(c *server.Config) {
		c.AllowOutbound = append(c.AllowOutbound, hook.Listener.Addr().String(), strings.TrimPrefix(cluster.Config().Server, "https://"))
	})
	zhangsan := w.person("zhangsan").logIn()
	zhangsan.authorize(w.link(w.wat("a", "zhangsan")).URL) // a provider and a grant
	w.make("/workload-pools/default/providers", fmt.Sprintf(`{"name":"coded","vendor":"custom","clientId":"cli_1","clientSecret":"s","scopes":["read"],"device":true,"endpoints":{"token":%q,"deviceAuthorization":%q}}`,
		hook.URL+"/token", hook.URL+"/device"), nil)
	zhangsan.location(zhangsan.get(w.ask(w.wat("a", "zhangsan"), "coded").Authorization.URL)) // a device authorization
	w.make("/workload-pools/default/webhooks", fmt.Sprintf(`{"url":%q}`, hook.URL), nil)
	pending := w.link(w.wat("a", "lisi")) // an authorization
	tried := w.try("feishu_oauth")        // a trial
	w.make("/user-pools/people/identity-providers", fmt.Sprintf(`{"name":"feishu","type":"feishu","clientId":%q,"clientSecret":%q,"endpoints":{"authorization":%q,"token":%q,"userInfo":%q}}`,
		appID, appSecret, w.party.URL+feishu.AuthorizePath, w.party.URL+feishu.TokenPathV3, w.party.URL+feishu.UserInfoPath), nil)
	away := w.person("lisi")
	if shown := away.get(w.url + "/userpool/people/login/feishu/begin"); shown.status != http.StatusSeeOther && shown.status != http.StatusFound {
		t.Fatalf("the login at Feishu began with %d", shown.status)
	}

	out := outside{world: w, cluster: cluster}
	out.vouch("default", out.attestor("prod", `[{"subject":"agents/doc","workload":"a"}]`)) // an attestor
	w.accessKey(`{"name":"nightly"}`)                                                       // an access key
	w.leaves("zhangsan", hook.URL+"/revoke")                                                // a revocation, and the provider for it
	seed, factors := w.enrol("zhangsan")                                                    // a factor
	w.everythingIsSealed()
	return everything{w, pending, tried, seed, factors}
}

// TestSwappedRecordsOpenNowhere puts each sealed record in the place of each other
// one: none opens there, of whatever kinds, users and pools the two are.
func TestSwappedRecordsOpenNowhere(t *testing.T) {
	ring, all := newEverything(t).sealed()
	for i, place := range all {
		for j, record := range all {
			plain, err := ring.Open(t.Context(), place.Place, record.Bytes)
			if i == j && (err != nil || plain.Empty()) {
				t.Errorf("%s %s does not open: %v", record.Column, record.Place.Record, err)
			}
			if i != j && !fault.HasCode(err, "seal_broken") {
				t.Errorf("%s %s opens in the place of %s %s: %v", record.Column, record.Place.Record, place.Column, place.Place.Record, err)
			}
		}
	}
}

// TestAlteredRecordsOpenNowhere changes one bit of each byte of each sealed record:
// none opens then.
func TestAlteredRecordsOpenNowhere(t *testing.T) {
	ring, all := newEverything(t).sealed()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	for _, record := range all {
		for i := range record.Bytes {
			bit := byte(1) << dice.IntN(8)
			record.Bytes[i] ^= bit
			if plain, err := ring.Open(t.Context(), record.Place, record.Bytes); !fault.HasCode(err, "seal_broken") || !plain.Empty() {
				t.Errorf("%s %s opens with bits %x of byte %d changed: %v", record.Column, record.Place.Record, bit, i, err)
			}
			record.Bytes[i] ^= bit
		}
		if _, err := ring.Open(t.Context(), record.Place, record.Bytes); err != nil {
			t.Errorf("%s %s does not open any more as it was: %v", record.Column, record.Place.Record, err)
		}
	}
}

// sealed returns all sealed records, and what opens them.
func (w everything) sealed() (*keys.Ring, []keys.Sealed) {
	w.t.Helper()
	ring, db := w.ring()
	var all []keys.Sealed
	for _, column := range (store.Keys{}).SealedColumns() {
		for _, pool := range []string{"default", "userpool/people"} {
			found, err := (store.Keys{DB: db}).SealedBefore(w.t.Context(), column, pool, math.MaxInt64, "", 100)
			must(w.t, err)
			all = append(all, found...)
		}
	}
	if len(all) < 8 {
		w.t.Fatalf("there are only %d sealed records", len(all))
	}
	return ring, all
}

// TestDataKeysRotateUnderEverything rotates the data keys under records of every kind that there is, and goes on with each.
func TestDataKeysRotateUnderEverything(t *testing.T) {
	w := newEverything(t)
	list := func(method string) map[string]int {
		t.Helper()
		got := w.api(method, "/data-keys", w.operator, "")
		var keys struct {
			Items []struct {
				Pool    string
				Newest  bool
				Records int
			}
		}
		if err := json.Unmarshal([]byte(got.body), &keys); err != nil || got.status != http.StatusOK {
			t.Fatalf("keys: %d %s", got.status, got.body)
		}
		former := map[string]int{}
		for _, k := range keys.Items {
			if !k.Newest {
				former[k.Pool] += k.Records
			}
		}
		return former
	}
	if former := list(http.MethodPost); former["default"] < 5 || former["userpool/people"] < 2 {
		t.Fatalf("the former keys seal %v", former)
	}
	for range 20 {
		got := w.api(http.MethodPost, "/data-keys/reseal", w.operator, "")
		if got.status != http.StatusOK {
			t.Fatalf("reseal: %d %s", got.status, got.body)
		}
		if strings.Contains(got.body, `"broken"`) {
			t.Fatalf("reseal: %s", got.body)
		}
		if strings.Contains(got.body, `"resealed":0`) {
			break
		}
	}
	for pool, records := range list(http.MethodGet) {
		if records > 0 {
			t.Errorf("the former key of %s still seals %d records", pool, records)
		}
	}
	if got := w.ask(w.wat("a", "zhangsan"), "feishu_oauth"); got.Status != "ready" || w.owner(got.Credential.AccessToken) != "zhangsan" {
		t.Errorf("the grant: %s", got.Status)
	}
	lisi := w.person("lisi").logIn()
	if shown := lisi.authorize(w.pending.URL); !strings.Contains(shown.body, "Authorized") {
		t.Errorf("the authorization: %d\n%s", shown.status, shown.body)
	}
	if shown := lisi.finish(lisi.decide(lisi.begin(w.tried.URL), "allow")); !strings.Contains(shown.body, "It works") {
		t.Errorf("the trial: %d\n%s", shown.status, shown.body)
	}
	if got := w.api(http.MethodPost, "/user-pools/people/identity-providers/feishu/test", w.operator, ""); got.status != http.StatusOK || strings.Contains(got.body, "seal_broken") {
		t.Errorf("the identity provider: %d %s", got.status, got.body)
	}
	if _, err := w.factors().CheckTOTP(t.Context(), name.Caller{Kind: name.System}, factor.Owner{Pool: "people", UserID: w.subject["zhangsan"]}, storetest.TOTP(w.seed, w.clock.now())); err != nil {
		t.Errorf("the factor: %v", err)
	}
	if strings.Contains(w.log.String(), "seal_broken") {
		t.Error("something does not open")
	}
}

// everythingIsSealed wants a record in every column that holds sealed ones.
func (w *world) everythingIsSealed() {
	w.t.Helper()
	db := w.sqlite()
	defer db.Close()
	for _, name := range (store.Keys{}).SealedColumns() {
		table, column, _ := strings.Cut(name, ".")
		var records int
		must(w.t, db.QueryRowContext(w.t.Context(), fmt.Sprintf(`SELECT COUNT(*) FROM %s WHERE length(%s) > 8`, table, column)).Scan(&records))
		if records == 0 {
			w.t.Errorf("nothing is sealed in %s", name)
		}
	}
}

// ring opens the server's data keys as they are now, and its database, beside it.
func (w *world) ring() (*keys.Ring, *store.DB) {
	w.t.Helper()
	db := w.open()
	w.t.Cleanup(func() { must(w.t, db.Close()) })
	plain, err := keys.ReadRootFile(filepath.Join(w.dir, "root.key"))
	must(w.t, err)
	root, err := keys.NewLocal(plain)
	must(w.t, err)
	ring, err := keys.NewRing(w.t.Context(), root, store.Keys{DB: db}, w.ownGuard(db), nil)
	must(w.t, err)
	return ring, db
}

func (w *world) ownGuard(db *store.DB) *guard.Guard {
	log := audit.NewLog(store.Audit{DB: db})
	w.t.Cleanup(log.Close)
	return &guard.Guard{Log: log}
}

// enrol gives a person an authenticator app, beside the server, and returns its
// seed and a function that opens the server's factors as they are then.
func (w *world) enrol(who string) (seed secret.Text, factors func() *factor.Registry) {
	w.t.Helper()
	factors = func() *factor.Registry {
		w.t.Helper()
		ring, db := w.ring()
		return &factor.Registry{Stores: store.Factors{DB: db}, Sealer: ring, Guard: w.ownGuard(db), Now: w.clock.now}
	}
	seed = factor.NewSeed()
	owner := factor.Owner{Pool: "people", UserID: w.subject[who]}
	_, err := factors().AddTOTP(w.t.Context(), name.Caller{Kind: name.Person, User: name.User{Subject: owner.UserID}}, owner, "phone", seed, storetest.TOTP(seed, w.clock.now()))
	must(w.t, err)
	w.clock.pass(time.Minute) // a code is good once
	return seed, factors
}

// leaves has a person authorize at a provider that is deleted then, while its
// revocation endpoint does not do what it is asked.
func (w *world) leaves(who, revocation string) {
	w.t.Helper()
	provider := strings.Replace(w.provider("leaving", readDoc, "offline_access"), `"endpoints":{`, fmt.Sprintf(`"endpoints":{"revocation":%q,`, revocation), 1)
	w.make("/workload-pools/default/providers", provider, nil)
	asked := w.ask(w.wat("b", who), "leaving")
	w.person(who).logIn().authorize(asked.Authorization.URL)
	if got := w.api(http.MethodDelete, "/workload-pools/default/providers/leaving", w.operator, ""); got.status != http.StatusNoContent {
		w.t.Fatalf("delete: %d %s", got.status, got.body)
	}
}
