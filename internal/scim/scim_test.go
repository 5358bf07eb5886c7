package scim_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/scim"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

// world is SCIM for the pools "people" and "other", each with a token.
type world struct {
	t      *testing.T
	mux    *http.ServeMux
	pools  store.UserPools
	tokens map[string]string
}

func newWorld(t *testing.T, db *store.DB) *world {
	t.Helper()
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	breached, err := userpool.NewBreached("")
	must(t, err)
	g := &guard.Guard{Log: log}
	w := &world{t, http.NewServeMux(), store.UserPools{DB: db}, map[string]string{}}
	for _, n := range []string{"people", "other"} {
		pool := userpool.Pool{Name: n, Settings: userpool.DefaultSettings(), CreatedAt: time.Now()}
		p, err := g.Allow(t.Context(), name.Caller{Kind: name.System}, userpool.ActionCreatePool, pool.Resource())
		must(t, err)
		must(t, w.pools.CreatePool(t.Context(), p, pool))
		w.tokens[n] = name.NewToken(userpool.ProvisioningPrefix)
		token := userpool.ProvisioningToken{ID: name.NewID("prv"), Pool: n, Name: "personnel", Hash: userpool.HashProvisioning(secret.FromString(w.tokens[n])), CreatedAt: time.Now()}
		p, err = g.Allow(t.Context(), name.Caller{Kind: name.System}, userpool.ActionCreateProvisioning, userpool.ProvisioningResource(n, token.ID))
		must(t, err)
		must(t, w.pools.AddProvisioningToken(t.Context(), p, token))
	}
	people := &roster.Roster{Store: w.pools, Passwords: &userpool.Passwords{Hasher: userpool.NewHasher(1), Breached: breached}, Guard: g, Now: time.Now}
	(&scim.Handler{PublicURL: "https://id.example", Pools: w.pools, Tokens: w.pools, Roster: people, Log: slog.New(slog.DiscardHandler)}).Mount(w.mux)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type resource struct {
	ID, ExternalID, UserName, DisplayName, ScimType string
	Active                                          bool
	Emails, Members, Groups                         []struct{ Value, Display string }
	TotalResults, ItemsPerPage                      int
	Resources                                       []resource
	Meta                                            struct{ Version, Location string }
}

// send sends a request as the pool's provisioning system, for people unless the
// path says otherwise.
func (w *world) send(token, method, path, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	if !strings.HasPrefix(path, "/userpool/") {
		path = "/userpool/people/scim/v2" + path
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	res := rec.Result()
	b, err := io.ReadAll(res.Body)
	must(w.t, err)
	return res, string(b)
}

// want sends a request and wants a status.
func (w *world) want(status int, method, path, body string, header ...string) resource {
	w.t.Helper()
	res, text := w.send(w.tokens["people"], method, path, body, header...)
	if res.StatusCode != status {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, res.StatusCode, status, text)
	}
	var got resource
	if text != "" {
		if err := json.Unmarshal([]byte(text), &got); err != nil || res.Header.Get("Content-Type") != "application/scim+json" {
			w.t.Fatalf("%s %s: %s %v: %s", method, path, res.Header.Get("Content-Type"), err, text)
		}
	}
	return got
}

func filter(text string) string { return "?filter=" + url.QueryEscape(text) }

func TestUsers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		w := newWorld(t, db)
		u := w.want(201, "POST", "/Users", `{"schemas":["`+"urn:ietf:params:scim:schemas:core:2.0:User"+`"],"userName":"zhang","externalId":"e1","name":{"formatted":"张三","givenName":"三"},
			"emails":[{"value":"home@example.com"},{"value":"zhang@example.com","primary":"True"}],"password":"correct horse battery staple","active":"True","unknown":{"a":1},
			"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"研发"}}`)
		if u.DisplayName != "张三" || !u.Active || u.Emails[0].Value != "zhang@example.com" || u.Meta.Location != "https://id.example/userpool/people/scim/v2/Users/"+u.ID {
			t.Errorf("made %+v", u)
		}
		stored, err := w.pools.User(t.Context(), "people", u.ID)
		if must(t, err); stored.PasswordHash.Empty() || stored.EmailVerified || stored.Attributes["department"] != "研发" || stored.Attributes["givenName"] != "三" {
			t.Errorf("stored %+v", stored)
		}
		if got := w.want(409, "POST", "/Users", `{"userName":"ZHANG"}`); got.ScimType != "uniqueness" {
			t.Errorf("again: %+v", got)
		}
		for _, f := range []string{`userName eq "ZHANG"`, `externalId EQ "e1" and username eq "zhang"`, `emails.value eq "ZHANG@example.com"`, `displayName eq "张三"`} {
			if l := w.want(200, "GET", "/Users"+filter(f), ""); l.TotalResults != 1 || l.Resources[0].ID != u.ID {
				t.Errorf("%s: %+v", f, l)
			}
		}
		if l := w.want(200, "GET", "/Users"+filter(`userName eq "nobody"`), ""); l.TotalResults != 0 {
			t.Errorf("nobody: %+v", l)
		}
		// As Azure AD writes it.
		u = w.want(200, "PATCH", "/Users/"+u.ID, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"},
			{"op":"Add","path":"emails[type eq \"work\"].value","value":"z@example.com"},{"op":"replace","value":{"name.familyName":"张","displayName":"Zhang San"}},
			{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"ops"},{"op":"remove","path":"externalId"}]}`)
		stored, err = w.pools.User(t.Context(), "people", u.ID)
		if must(t, err); !stored.Disabled || stored.Email != "z@example.com" || stored.DisplayName != "Zhang San" || stored.Attributes["familyName"] != "张" || stored.Attributes["department"] != "ops" || stored.ExternalID != "" {
			t.Errorf("patched to %+v", stored)
		}
		w.want(412, "PUT", "/Users/"+u.ID, `{"userName":"zhang"}`, "If-Match", `W/"1"`)
		u = w.want(200, "PUT", "/Users/"+u.ID, `{"userName":"zhang","active":true}`, "If-Match", u.Meta.Version)
		if !u.Active || u.DisplayName != "" || len(u.Emails) != 0 {
			t.Errorf("replaced by %+v", u)
		}
		w.want(304, "GET", "/Users/"+u.ID, "", "If-None-Match", u.Meta.Version)
		w.want(204, "DELETE", "/Users/"+u.ID, "")
		w.want(404, "GET", "/Users/"+u.ID, "")
		entries, err := storetest.Entries(t.Context(), db)
		must(t, err)
		if last := entries[len(entries)-1]; last.Caller.Kind != name.Provisioner || last.Caller.Client != "personnel" || last.Action != "user.delete" {
			t.Errorf("recorded %+v", last)
		}
	})
}

func TestGroups(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	var ids []string
	for _, n := range []string{"a1", "b2", "c3"} {
		ids = append(ids, w.want(201, "POST", "/Users", `{"userName":"`+n+`"}`).ID)
	}
	g := w.want(201, "POST", "/Groups", `{"displayName":"研发","externalId":"g1","members":[{"value":"`+ids[0]+`"}]}`)
	patch := func(status int, operation string) resource {
		t.Helper()
		return w.want(status, "PATCH", "/Groups/"+g.ID, `{"Operations":[`+operation+`]}`)
	}
	if got := patch(200, `{"op":"Add","path":"members","value":[{"value":"`+ids[1]+`"},{"value":"`+ids[1]+`"}]}`); len(got.Members) != 2 {
		t.Errorf("added: %+v", got)
	}
	if got := patch(200, `{"op":"remove","path":"members[value eq \"`+ids[0]+`\"]"}`); len(got.Members) != 1 || got.Members[0].Value != ids[1] {
		t.Errorf("removed: %+v", got)
	}
	if got := patch(200, `{"op":"replace","value":{"displayName":"ops","members":[{"value":"`+ids[2]+`"}]}}`); len(got.Members) != 1 || got.DisplayName != "ops" || got.ExternalID != "g1" {
		t.Errorf("replaced: %+v", got)
	}
	if u := w.want(200, "GET", "/Users/"+ids[2], ""); len(u.Groups) != 1 || u.Groups[0].Display != "ops" {
		t.Errorf("the member is %+v", u)
	}
	if l := w.want(200, "GET", "/Groups"+filter(`members.value eq "`+ids[2]+`"`), ""); l.TotalResults != 1 {
		t.Errorf("his groups: %+v", l)
	}
	patch(400, `{"op":"add","path":"members","value":[{"value":"usr_elsewhere"}]}`)
	w.want(400, "POST", "/Groups", `{"displayName":"x","members":[{"value":"usr_elsewhere"}]}`)
	if l := w.want(200, "GET", "/Groups?excludedAttributes=members", ""); l.TotalResults != 1 || len(l.Resources[0].Members) != 0 {
		t.Errorf("half a group, or members: %+v", l)
	}
	if got := w.want(200, "PUT", "/Groups/"+g.ID, `{"displayName":"ops","members":[{"value":"`+ids[0]+`"},{"value":"`+ids[1]+`"}]}`); len(got.Members) != 2 || got.ExternalID != "" {
		t.Errorf("put: %+v", got)
	}
	if got := patch(200, `{"op":"remove","path":"members"}`); len(got.Members) != 0 {
		t.Errorf("emptied: %+v", got)
	}
	w.want(204, "DELETE", "/Groups/"+g.ID, "")
}

func TestPages(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	for _, n := range []string{"a1", "b2", "c3"} {
		w.want(201, "POST", "/Users", `{"userName":"`+n+`"}`)
	}
	for query, want := range map[string]string{"?startIndex=2&count=1": "b2", "?startIndex=-5&count=1": "a1", "?startIndex=3": "c3", "?count=0": "", "?startIndex=9": "", "?count=-1": ""} {
		l := w.want(200, "GET", "/Users"+query, "")
		first := ""
		if len(l.Resources) > 0 {
			first = l.Resources[0].UserName
		}
		if l.TotalResults != 3 || first != want || l.ItemsPerPage != len(l.Resources) {
			t.Errorf("%s: %+v", query, l)
		}
	}
	for path, n := range map[string]int{"/ResourceTypes": 2, "/Schemas": 3} {
		if l := w.want(200, "GET", path, ""); l.TotalResults != n || len(l.Resources) != n {
			t.Errorf("%s: %+v", path, l)
		}
	}
	w.want(200, "GET", "/ServiceProviderConfig", "")
}

func TestHostileRequests(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	id := w.want(201, "POST", "/Users", `{"userName":"zhang"}`).ID
	gid := w.want(201, "POST", "/Groups", `{"displayName":"g"}`).ID
	for _, token := range []string{"", "x", w.tokens["other"], "dop_" + w.tokens["people"], strings.ToUpper(w.tokens["people"]), w.tokens["people"] + "x"} {
		for _, path := range []string{"/Users", "/Users/" + id, "/ServiceProviderConfig", "/nothing", "/userpool/nowhere/scim/v2/Users", "/userpool/..%2f/scim/v2/Users"} {
			if res, body := w.send(token, "GET", path, ""); res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") == "" || strings.Contains(body, "zhang") {
				t.Errorf("%q %s: %d %s", token, path, res.StatusCode, body)
			}
		}
	}
	for _, path := range []string{"/Users/" + id, "/Groups/" + gid} { // of another pool
		for _, method := range []string{"GET", "DELETE"} {
			if res, _ := w.send(w.tokens["other"], method, "/userpool/other/scim/v2"+path, ""); res.StatusCode != 404 {
				t.Errorf("%s %s through the other pool: %d", method, path, res.StatusCode)
			}
		}
	}
	if res, body := w.send(w.tokens["other"], "POST", "/userpool/other/scim/v2/Groups", `{"displayName":"g","members":[{"value":"`+id+`"}]}`); res.StatusCode != 400 {
		t.Errorf("a member of another pool: %d %s", res.StatusCode, body)
	}
	op := func(operation string) string { return `{"Operations":[` + operation + `]}` }
	for _, c := range []struct {
		method, path, body string
		status             int
		scimType           string
	}{
		{"GET", "/Users" + filter(`userName sw "z"`), "", 400, "invalidFilter"},
		{"GET", "/Users" + filter(`userName eq ""`), "", 400, "invalidFilter"},
		{"GET", "/Users" + filter(`password eq "x"`), "", 400, "invalidFilter"},
		{"GET", "/Users" + filter(`userName eq "a" or userName eq "b"`), "", 400, "invalidFilter"},
		{"GET", "/Users" + filter(`userName eq "a" and userName eq "b"`), "", 400, "invalidFilter"},
		{"GET", "/Users" + filter(strings.Repeat("(", 500)), "", 400, "invalidFilter"},
		{"GET", "/Users" + filter(strings.Repeat(`externalId eq "1" and `, 100)+`userName eq "a"`), "", 400, "invalidFilter"},
		{"GET", "/Users?count=many", "", 400, "invalidValue"},
		{"GET", "/Users/" + gid, "", 404, ""},
		{"GET", "/Users/%00", "", 404, ""},
		{"GET", "/Bulk", "", 404, ""},
		{"POST", "/Users", `{`, 400, "invalidSyntax"},
		{"POST", "/Users", `[]`, 400, "invalidSyntax"},
		{"POST", "/Users", ``, 400, "invalidSyntax"},
		{"POST", "/Users", strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), 400, "invalidSyntax"},
		{"POST", "/Users", `{"userName":["a"]}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"a b"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"ab","active":"perhaps"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"ab","emails":"x"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"ab","emails":[1]}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"ab","password":"short"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"` + strings.Repeat("a", 300<<10) + `"}`, 413, ""},
		{"PATCH", "/Users/" + id, `{}`, 400, "invalidSyntax"},
		{"PATCH", "/Users/" + id, op(strings.Repeat(`{"op":"add","path":"active","value":true},`, 100) + `{"op":"add","path":"active","value":true}`), 400, "invalidSyntax"},
		{"PATCH", "/Users/" + id, op(`{"op":"move","path":"active"}`), 400, "invalidSyntax"},
		{"PATCH", "/Users/" + id, op(`{"op":"remove"}`), 400, "noTarget"},
		{"PATCH", "/Users/" + id, op(`{"op":"add","path":"emails[","value":1}`), 400, "invalidPath"},
		{"PATCH", "/Users/" + id, op(`{"op":"add","path":"userName.x","value":1}`), 400, "invalidPath"},
		{"PATCH", "/Users/" + id, op(`{"op":"replace","path":"id","value":"usr_1"}`), 400, "mutability"},
		{"PATCH", "/Users/" + id, op(`{"op":"add","path":"emails","value":[` + strings.Repeat("1,", 40) + `1]}`), 400, "tooMany"},
		{"PATCH", "/Users/" + id, op(`{"op":"remove","path":"userName"}`), 400, "invalidValue"},
		{"PATCH", "/Groups/" + gid, op(`{"op":"add","path":"members","value":[{"value":1}]}`), 400, "invalidValue"},
		{"PATCH", "/Groups/" + gid, op(`{"op":"replace","path":"members[value eq \"x\"].display","value":"y"}`), 400, "invalidPath"},
	} {
		if got := w.want(c.status, c.method, c.path, c.body); got.ScimType != c.scimType {
			t.Errorf("%s %s %.80s: %q, want %q", c.method, c.path, c.body, got.ScimType, c.scimType)
		}
	}
	// None of it changed anything, and hashes are neither taken nor shown.
	stored, err := w.pools.User(t.Context(), "people", id)
	if must(t, err); stored.Version != 1 {
		t.Errorf("changed to %+v", stored)
	}
	w.want(200, "PUT", "/Users/"+id, `{"userName":"zhang","passwordHash":"$argon2id$x","password":"correct horse battery staple"}`)
	if _, body := w.send(w.tokens["people"], "GET", "/Users/"+id, ""); strings.Contains(body, "argon2") || strings.Contains(body, "assword") {
		t.Errorf("it shows %s", body)
	}
}
